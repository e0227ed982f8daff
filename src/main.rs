//! The `portcullis` program.

use std::process::ExitCode;

use clap::Parser as _;
use portcullis::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The one provider, before anything asks for one. A second call can only mean that it is
    // there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(cli)
}
