//! What a warm run costs besides its work.

use clipseg::{ClipSeg, Photo, Precision};
use clipseg_tests::{WAYS, fixture, open};

/// A run with photos and prompts of the same sizes as an earlier run uses that run's plans, with all their
/// buffers, textures, bind groups and pipelines.
#[test]
fn a_warm_run_creates_nothing_on_the_device() {
    for (adapter, kernels) in WAYS {
        // A device of the test's own, as other tests create resources at the same time.
        let device = open(adapter, kernels, Precision::Auto);
        let model = ClipSeg::from_pretrained(&device, fixture("clipseg-shapes")).unwrap();
        let mut earlier = Vec::new();
        for index in 0..6 {
            let scene = clipseg_shapes::Scene::new(21, index);
            let photo = Photo::from_rgb(clipseg_shapes::SIZE, clipseg_shapes::SIZE, scene.pixels).unwrap();
            let before = device.resources_created();
            let encoded = model.encode_image(&photo).unwrap();
            // Other words in each run, so that their conditions are not cached, but of one length.
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
