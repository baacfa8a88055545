//! `src/grpc/generated.rs` and `src/grpc/descriptor.bin` are what `proto/inference.proto` compiles to, so that whoever
//! builds this crate needs no compiler of protocols. `RESNEST_REWRITE_GENERATED=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The descriptors for reflection, comments included, and the code for messages and server.
fn compile() -> (Vec<u8>, String) {
    let mut compiler = protox::Compiler::new([in_crate("proto")]).unwrap();
    compiler
        .include_source_info(true)
        .open_file("inference.proto")
        .unwrap();
    let descriptors = compiler.file_descriptor_set();

    let out = tempfile::tempdir().unwrap();
    let builder = tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false);
    // Contents are slices of the message that came in; maps have an order, so equal answers are equal bytes.
    let builder = builder.bytes(".").btree_map(".").out_dir(out.path());
    // Refuses what is small on the wire and large in memory.
    let builder = builder.codec_path("crate::grpc::bounded::BoundedCodec");
    builder.compile_fds(descriptors).unwrap();
    let code = fs::read_to_string(out.path().join("inference.rs")).unwrap();

    // Reflection tells names, numbers and types; comments would treble the size of what every binary carries.
    compiler.include_source_info(false);
    (compiler.encode_file_descriptor_set(), code)
}

#[test]
fn the_committed_files_are_what_the_protocol_compiles_to() {
    let (descriptors, code) = compile();
    let (descriptor_file, code_file) = (
        in_crate("src/grpc/descriptor.bin"),
        in_crate("src/grpc/generated.rs"),
    );
    if std::env::var_os("RESNEST_REWRITE_GENERATED").is_some() {
        fs::write(&descriptor_file, &descriptors).unwrap();
        fs::write(&code_file, &code).unwrap();
    }
    let advice =
        "differs from proto/inference.proto: run this test with RESNEST_REWRITE_GENERATED=1";
    assert!(
        fs::read(&descriptor_file).unwrap() == descriptors,
        "descriptor.bin {advice}"
    );
    assert!(
        fs::read_to_string(&code_file).unwrap() == code,
        "generated.rs {advice}"
    );
}
