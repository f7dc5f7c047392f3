//! QR codes as PNG.

use super::png;
use qrcode::{Color, QrCode};
use vault_logical::{Error, Result};

/// Modules of white around the code (ISO 18004).
const QUIET: usize = 4;

/// `text` as a square PNG of `size` pixels.
pub(super) fn png(text: &str, size: usize) -> Result<Vec<u8>> {
    let code = QrCode::new(text.as_bytes())
        .map_err(|_| Error::invalid("the key does not fit a QR code; set qr_size to 0"))?;
    let width = code.width();
    let dark: Vec<bool> = code.into_colors().into_iter().map(|c| c == Color::Dark).collect();
    let needed = width + 2 * QUIET;
    let scale = size / needed;
    if scale == 0 {
        return Err(Error::invalid(format!(
            "the qr_size value must be at least {needed} pixels for this key"
        )));
    }
    let margin = (size - width * scale) / 2;
    let module = |at: usize| at.checked_sub(margin).map(|d| d / scale).filter(|m| *m < width);
    Ok(png::encode(size, |x, y| match (module(x), module(y)) {
        (Some(x), Some(y)) => !dark.get(y * width + x).copied().unwrap_or(false),
        _ => true,
    }))
}
