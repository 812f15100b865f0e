//! A virtual screen: Xvfb, whose picture lies in a file, and xdotool for keys and clicks.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use image::RgbImage;

use crate::root;

/// A running Xvfb; it ends when this is dropped.
pub struct Screen {
    server: Child,
    display: String,
    /// Where its picture lies.
    folder: PathBuf,
}

impl Screen {
    /// A screen of so many pixels.
    pub fn open(width: u32, height: u32) -> Result<Self> {
        let folder = root().join(super::TARGET).join("screen");
        fs::create_dir_all(&folder)?;
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .arg("-fbdir")
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("Xvfb does not start")?;
        let mut number = String::new();
        BufReader::new(server.stdout.take().context("it has an output")?).read_line(&mut number)?;
        ensure!(!number.trim().is_empty(), "Xvfb has no display: {}", server.wait()?);
        Ok(Self { server, display: format!(":{}", number.trim()), folder })
    }

    /// As `DISPLAY` has it.
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Gives the keyboard to the window, as there is nobody to do it.
    pub fn focus(&self) -> Result<()> {
        self.xdotool(&["search", "--sync", "--name", "^clipseg$", "windowfocus", "--sync"])
    }

    /// Types as a person does.
    pub fn type_words(&self, words: &str) -> Result<()> {
        self.xdotool(&["type", "--delay", "60", words])
    }

    /// A click at a pixel, slow enough for a busy machine to draw frames before it is over.
    pub fn click(&self, x: f64, y: f64) -> Result<()> {
        let [x, y] = [x, y].map(|place| format!("{place:.0}"));
        self.xdotool(&[
            "mousemove",
            &x,
            &y,
            "sleep",
            "0.5",
            "mousedown",
            "1",
            "sleep",
            "0.5",
            "mouseup",
            "1",
            "sleep",
            "0.2",
        ])
    }

    fn xdotool(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("xdotool").args(arguments).env("DISPLAY", &self.display).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "xdotool {}: {said}", arguments.join(" "));
        Ok(())
    }

    /// What is on the screen.
    pub fn picture(&self) -> Result<RgbImage> {
        let path = self.folder.join("Xvfb_screen0");
        let file = fs::read(&path).with_context(|| path.display().to_string())?;
        decode(&file).with_context(|| format!("{} is not a picture of a screen", path.display()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A picture in the format of `xwd`, of 32 bits a pixel as Xvfb keeps it.
fn decode(file: &[u8]) -> Option<RgbImage> {
    // Fields of the header, 32 bits each, the highest byte first.
    let field = |place: usize| -> Option<usize> {
        let bytes = file.get(4 * place..4 * place + 4)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    };
    let [header, width, height, byte_order] = [field(0)?, field(4)?, field(5)?, field(7)?];
    let [bits, row, colours] = [field(11)?, field(12)?, field(19)?];
    if bits != 32 {
        return None;
    }
    // Colours of 12 bytes each, which pixels of this depth do not use.
    let pixels = file.get(header.checked_add(colours.checked_mul(12)?)?..)?;
    let mut rgb = Vec::with_capacity(3 * width * height);
    for row in pixels.chunks_exact(row).take(height) {
        for pixel in row.as_chunks::<4>().0.iter().take(width) {
            let [blue, green, red] = match byte_order {
                0 => [pixel[0], pixel[1], pixel[2]],
                _ => [pixel[3], pixel[2], pixel[1]],
            };
            rgb.extend([red, green, blue]);
        }
    }
    RgbImage::from_raw(width as u32, height as u32, rgb)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_picture_of_a_screen_is_read() {
        let mut header = [0_u32; 25];
        (header[0], header[4], header[5], header[11], header[12], header[19]) = (100, 2, 1, 32, 12, 1);
        let mut file: Vec<u8> = header.iter().flat_map(|field| field.to_be_bytes()).collect();
        file.extend([9; 12]);
        file.extend([1, 2, 3, 0, 4, 5, 6, 0, 7, 7, 7, 7]);
        let picture = decode(&file).expect("it is one");
        assert_eq!((picture.dimensions(), &picture.into_raw()[..]), ((2, 1), &[3, 2, 1, 6, 5, 4][..]));
        file.truncate(101);
        assert!(decode(&file).is_none());
        assert!(decode(&[]).is_none());
    }
}
