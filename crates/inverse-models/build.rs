//! Compiles the CUDA kernels to PTX where the `cuda` feature is on; does nothing otherwise.

#[cfg(feature = "cuda")]
fn main() -> cudaforge::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let kernels = cudaforge::KernelBuilder::new()
        .source_files(vec!["src/nn/kernels/cuda/kernels.cu"])
        .arg("-std=c++17")
        .arg("-O3");
    // It writes kernels.ptx into OUT_DIR.
    kernels.build_ptx().map(drop)
}

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
