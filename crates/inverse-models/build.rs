//! Compiles the CUDA kernels to PTX where the `cuda` feature is on; does nothing otherwise.

#[cfg(feature = "cuda")]
fn main() -> cudaforge::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/nn/kernels/cuda/warp.cuh");
    let kernels = cudaforge::KernelBuilder::new()
        .source_files(vec!["src/nn/kernels/cuda/kernels.cu", "src/nn/kernels/cuda/coupling.cu"])
        .arg("-std=c++17")
        .arg("-O3");
    // It writes kernels.ptx and coupling.ptx into OUT_DIR.
    kernels.build_ptx().map(drop)
}

#[cfg(not(feature = "cuda"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
