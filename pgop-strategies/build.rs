//! Makes cargo see templates that are new or gone; `include_dir` alone notices only changed ones.
fn main() {
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-changed=build.rs");
}
