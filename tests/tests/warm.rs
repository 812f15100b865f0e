//! What a warm run costs besides its work.

use clipseg::{ClipSeg, Photo, Precision};
use clipseg_tests::{WAYS, fixture, open};

/// Photos and prompts of the sizes of an earlier run find its plans: buffers, textures, bind groups and
/// pipelines are all there.
#[test]
fn a_warm_run_creates_nothing_on_the_device() {
    for (adapter, kernels) in WAYS {
        // Of its own: other tests create things at the same time.
        let device = open(adapter, kernels, Precision::Auto);
        let model = ClipSeg::from_pretrained(&device, fixture("clipseg-shapes")).unwrap();
        let mut earlier = Vec::new();
        for index in 0..6 {
            let scene = clipseg_shapes::Scene::new(21, index);
            let photo = Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).unwrap();
            let before = device.resources_created();
            let encoded = model.encode_image(&photo).unwrap();
            // Words of one length, never the same, so that they are not known already.
            let colours = ["red", "green", "blue", "yellow", "purple", "orange"];
            let prompts = [
                format!("a {} circle", colours[index as usize]),
                format!("something {}", colours[index as usize]),
            ];
            let segmentation = model.segment(&encoded, &prompts).unwrap();
            let mask = segmentation.resized(photo.width(), photo.height()).unwrap().mask(1, 0.5);
            assert_eq!(mask.len(), photo.width() * photo.height());
            earlier.push(device.resources_created() - before);
        }
        assert!(earlier[0] > 20, "the first run makes everything: {earlier:?}");
        assert_eq!(earlier[1..], [0; 5], "{device:?}");
    }
}
