//! The `resnest` command. All of it is the package's library, so that an example can describe it.

fn main() -> std::process::ExitCode {
    resnest_cli::main()
}
