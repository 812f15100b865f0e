//! Digests of files, as the layout writes them: SHA-256 in base64.

use sha2::{Digest, Sha256};

/// The digest of a file.
pub fn digest(bytes: &[u8]) -> String {
    base64(&Sha256::digest(bytes))
}

/// The first seven letters of a text's digest in hexadecimal, as commits are called.
pub fn short(text: &str) -> String {
    let hexadecimal: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    hexadecimal[..7].to_owned()
}

/// Base64 (RFC 4648), with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| -> [char; 4] {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |place: u32| LETTERS[(bits >> (18 - 6 * place) & 63) as usize] as char;
        let padded = |place: u32| if place as usize <= three.len() { letter(place) } else { '=' };
        [letter(0), letter(1), padded(2), padded(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_base64() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(short(""), "e3b0c44");
        assert_eq!(digest(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
