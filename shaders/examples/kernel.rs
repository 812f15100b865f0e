//! Prints kernels as devices get them, composed of their file and what it includes.
//!
//! ```sh
//! cargo run --package clipseg-shaders --example kernel -- matmul_tile_vec4
//! ```

use clipseg_shaders::kernels::ALL;

fn main() -> Result<(), String> {
    for name in std::env::args().skip(1) {
        let kernel = ALL.iter().find(|kernel| kernel.name == name);
        let kernel =
            kernel.ok_or_else(|| format!("{name} is not a file of shaders/wgsl without its ending"))?;
        print!("{}", kernel.source);
    }
    Ok(())
}
