//! `vaultd`: see `vaultd help`.

/// Every freed block is wiped, whoever allocated it.
#[global_allocator]
static ALLOCATOR: secmem::WipingAllocator = secmem::WipingAllocator;

fn main() -> std::process::ExitCode {
    vaultd::cli::main(std::env::args_os())
}
