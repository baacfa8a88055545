//! Writes the command's man pages and shell completions into a folder: `pages FOLDER`. deploy/dist.sh packs them; an
//! example, so that the command itself need not carry what makes them.

use std::path::Path;
use std::{env, fs, io};

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let (man, completions) = (
        Path::new(&folder).join("man"),
        Path::new(&folder).join("completions"),
    );
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = resnest_cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "resnest", &completions)?;
    }
    // A new one, for the completions have given theirs the subcommand `help`: no pages on that, which only shows the others.
    let command = resnest_cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &man)
}
