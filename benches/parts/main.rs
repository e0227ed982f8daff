//! How long the parts of the way take by themselves, by criterion: `cargo bench --bench parts`.

#![expect(
    clippy::unwrap_used,
    reason = "nothing here goes wrong but by a mistake"
)]

use criterion::Criterion;

mod part;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for mut part in part::all() {
        criterion.bench_function(part.name, |bench| bench.iter(|| (part.once)()));
    }
    criterion.final_summary();
}
