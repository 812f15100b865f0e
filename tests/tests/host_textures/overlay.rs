//! Masks laid over a host's photos, into its textures.

use clipseg::masks::Mask;
use clipseg::{MaskValues, Overlay, Photo, wgpu};
use clipseg_tests::host::Host;
use wgpu::TextureFormat::{Bgra8Unorm, Bgra8UnormSrgb, R8Unorm, Rgba8Unorm, Rgba8UnormSrgb, Rgba16Float};

use super::{SAMPLED, TARGET, kind, model, size};

/// Both what the command saves as an overlay and what [`Mask::laid_over`] gives are the same by a test there.
#[test]
fn an_overlay_in_a_texture_is_that_of_the_way_over_host_memory() {
    let host = Host::plain();
    let model = model(&host);
    let scene = clipseg_shapes::Scene::new(2024, 69);
    let photo = Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).unwrap();
    let condition = model.encode_text(&["the orange ring", "something striped"]).unwrap();
    let segmentation = model.decode(&model.encode_image(&photo).unwrap(), &condition).unwrap();
    let (width, height) = (photo.width(), photo.height());
    let resized = segmentation.resized(width, height).unwrap();
    let overlays = [
        Overlay::default(),
        Overlay { colour: [48, 160, 255], opacity: 0.3, values: MaskValues::Threshold(0.4), outline: 3 },
    ];
    // One prompt over the other.
    let mut expected = photo.rgb().to_vec();
    let mut is_near = vec![false; width * height];
    for (prompt, overlay) in overlays.iter().enumerate() {
        let MaskValues::Threshold(threshold) = overlay.values else { panic!("both have one") };
        let mask = Mask::new(width, height, resized.mask(prompt, threshold)).unwrap();
        assert!(mask.area() > 100);
        expected =
            mask.laid_over(&expected, overlay.colour, overlay.opacity, overlay.outline as usize).unwrap();
        // There the last digits of the device's exponentials decide.
        for (is_near, probability) in is_near.iter_mut().zip(resized.probabilities(prompt)) {
            *is_near |= (probability - threshold).abs() < 2e-6;
        }
    }
    assert!(is_near.iter().filter(|&&is_near| is_near).count() < 10);
    let reached = |place: usize| {
        let near = |place: usize| is_near.get(place).is_some_and(|&is_near| is_near);
        let steps = (0..=3).flat_map(|step| [step, step * width]);
        steps.into_iter().any(|step| near(place + step) || place >= step && near(place - step))
    };

    let (mut compared, mut differing) = (0, 0);
    for photo_format in [Rgba8Unorm, Bgra8Unorm, Rgba8UnormSrgb, Bgra8UnormSrgb] {
        let texture = host.photo(photo_format, size(&photo), photo.rgb());
        let found = model.decode_on_device(&model.encode_texture(&texture).unwrap(), &condition).unwrap();
        for format in [Rgba8Unorm, Bgra8Unorm, Rgba8UnormSrgb, Bgra8UnormSrgb] {
            // The second prompt is laid over the texture itself.
            let target = host.texture(format, size(&photo), TARGET | SAMPLED);
            found.write_overlay(0, &texture, &target, &overlays[0]).unwrap();
            found.write_overlay(1, &target, &target, &overlays[1]).unwrap();
            let texels = host.bytes_of(&target, 4);
            let is_bgra = matches!(format, Bgra8Unorm | Bgra8UnormSrgb);
            for (place, (texel, expected)) in texels.chunks(4).zip(expected.chunks(3)).enumerate() {
                if reached(place) {
                    continue;
                }
                let [red, blue] = if is_bgra { [2, 0] } else { [0, 2] };
                for (found, expected) in [texel[red], texel[1], texel[blue]].iter().zip(expected) {
                    // An opacity of three tenths is not exact, nor is how drivers decode sRGB.
                    assert!(found.abs_diff(*expected) <= 1, "{found}, expected {expected} at {place}");
                    differing += usize::from(found != expected);
                    compared += 1;
                }
                let pixel = &photo.rgb()[3 * place..][..3];
                assert_eq!(texel[3], pixel[0] ^ pixel[2], "alpha is the photo's");
            }
        }
    }
    println!("of {compared} bytes of overlays {differing} differ by a grey level");
    assert_eq!(host.told(), 0);
}

#[test]
fn an_overlay_that_cannot_be_written_is_told_with_what_to_change() {
    let host = Host::plain();
    let model = model(&host);
    let condition = model.encode_text(&["a red star"]).unwrap();
    let scene = model.encode_texture(&host.texture(Rgba8Unorm, (40, 30), SAMPLED)).unwrap();
    let found = model.decode_on_device(&scene, &condition).unwrap();

    let (photo, overlaid) =
        (host.texture(Rgba8Unorm, (7, 5), SAMPLED), host.texture(Rgba8Unorm, (9, 8), TARGET));
    let overlay = Overlay::default();
    let lay = |photo: &wgpu::Texture, target: &wgpu::Texture, overlay: &Overlay| {
        kind(found.write_overlay(0, photo, target, overlay))
    };
    for (photo, target, words) in [
        (&host.texture(Rgba16Float, (7, 5), SAMPLED), &overlaid, ["the photo's", "Rgba16Float"]),
        (&host.texture(Rgba8Unorm, (7, 5), TARGET), &overlaid, ["the photo's", "TEXTURE_BINDING"]),
        (&photo, &host.texture(R8Unorm, (9, 8), TARGET), ["the overlay's", "Bgra8UnormSrgb"]),
        (&photo, &host.texture(Rgba8Unorm, (9, 8), SAMPLED), ["the overlay's", "COPY_DST"]),
    ] {
        let (kind_of, message) = lay(photo, target, &overlay);
        assert_eq!(kind_of, "texture");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    for opacity in [-0.1, 1.1, f32::NAN] {
        let overlay = Overlay { opacity, ..overlay };
        assert_eq!(lay(&photo, &overlaid, &overlay).0, "input");
    }
    let threshold = Overlay { values: MaskValues::Threshold(f32::NAN), ..overlay };
    assert_eq!(lay(&photo, &overlaid, &threshold).0, "input");
    assert_eq!(kind(found.write_overlay(1, &photo, &overlaid, &overlay)).0, "input");

    let other = Host::on(host.adapter.clone(), wgpu::Features::empty(), wgpu::Limits::default());
    let foreign = other.texture(Rgba8Unorm, (9, 8), SAMPLED | TARGET);
    assert_eq!(lay(&foreign, &overlaid, &overlay).0, "other device");
    assert_eq!(lay(&photo, &foreign, &overlay).0, "other device");
    // Textures of another instance, whose ids mean nothing here.
    let stranger = Host::plain();
    let many: Vec<_> = (0..500).map(|_| stranger.texture(Rgba8Unorm, (9, 8), SAMPLED | TARGET)).collect();
    assert_eq!(lay(&many[499], &overlaid, &overlay).0, "other device");
    assert_eq!(lay(&photo, &many[499], &overlay).0, "other device");

    // None of these errors has reached a host's handler, and all still works.
    assert_eq!((host.told(), other.told()), (0, 0));
    found.write_overlay(0, &photo, &overlaid, &overlay).unwrap();
}
