//! Texts as pictures that a telephone reads: QR codes (ISO/IEC 18004) in PNG.

use crate::refusal::Refusal;
use qrcode::{Color, EcLevel, QrCode};

/// Pixels of the side of the largest picture.
pub(crate) const LARGEST: u32 = 1_000;
/// The white around a code, in its own units, that readers need.
const QUIET: usize = 4;

/// `text` as a square picture of `size` by `size` pixels, in PNG.
pub(crate) fn png(text: &str, size: u32) -> Result<Vec<u8>, Refusal> {
    let too_long = |_| Refusal::invalid("the text is too long for a barcode: set qr_size=0 to leave it out");
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(too_long)?;
    let (pixels, units) = (size as usize, code.width() + 2 * QUIET);
    let unit = pixels / units;
    if size > LARGEST || unit == 0 {
        return Err(Refusal::invalid(format!("qr_size must be 0, or from {units} to {LARGEST} pixels")));
    }
    // What does not divide goes around it.
    let margin = (pixels - unit * units) / 2 + unit * QUIET;
    let dark = |at: usize| at.checked_sub(margin).map(|at| at / unit).filter(|at| *at < code.width());
    let mut gray = Vec::with_capacity(pixels * pixels);
    for y in 0..pixels {
        gray.extend((0..pixels).map(|x| match (dark(x), dark(y)) {
            (Some(x), Some(y)) if code[(x, y)] == Color::Dark => 0u8,
            _ => 255,
        }));
    }
    let unwritten = |_| Refusal::Internal("a picture could not be written".to_owned());
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, size, size);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().map_err(unwritten)?;
    writer.write_image_data(&gray).map_err(unwritten)?;
    writer.finish().map_err(unwritten)?;
    Ok(out)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a reader finds in a picture, and its size.
    pub(crate) fn read(picture: &[u8]) -> (String, u32) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().unwrap();
        let mut gray = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut gray).unwrap();
        let width = info.width as usize;
        let pixel = |x: usize, y: usize| gray[y * width + x];
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, info.height as usize, pixel);
        (image.detect_grids()[0].decode().unwrap().1, info.width)
    }

    #[test]
    fn a_reader_reads_what_was_written() {
        let text = "otpauth://totp/Example:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example";
        for size in [60, 200, 333, 1000] {
            assert_eq!(read(&png(text, size).unwrap()), (text.to_owned(), size));
        }
    }

    #[test]
    fn pictures_that_cannot_be_made_are_refused() {
        for (text, size) in [("a", 28), ("a", 1_001), ("a", u32::MAX), (&"a".repeat(3_000), 200)] {
            assert!(png(text, size).is_err(), "{size}");
        }
        assert!(png("a", 29).is_ok());
    }
}
