//! Reads the processor's settings as transformers does.

use clipseg_clip::{Error, ImageSize, PreprocessorConfig, Processor, Resample};

#[test]
fn settings_are_read_with_the_defaults_of_transformers() {
    let config = PreprocessorConfig::from_json(
        r#"{"feature_extractor_type": "ViTFeatureExtractor", "size": 352, "resample": 3, "image_mean": 0.4,
            "image_std": null}"#,
    )
    .unwrap();
    assert_eq!(config.size, ImageSize::Sides { height: 352, width: 352 });
    assert_eq!(config.resample, Resample::Bicubic);
    assert_eq!((config.image_mean, config.image_std), ([0.4; 3], [0.5; 3]));
    assert!(config.do_resize && config.do_rescale && config.do_normalize);
    assert_eq!(config.extra["feature_extractor_type"], "ViTFeatureExtractor");
    assert_eq!(PreprocessorConfig::from_json(&config.to_json()).unwrap(), config);
    assert_eq!(PreprocessorConfig::from_json("{}").unwrap(), PreprocessorConfig::default());
    for size in
        [r#"{"shortest_edge":9}"#, r#"{"shortest_edge":9,"longest_edge":20}"#, r#"{"longest_edge":20}"#]
    {
        let config =
            PreprocessorConfig::from_json(&format!(r#"{{"size": {size}, "do_resize": false}}"#)).unwrap();
        assert_eq!(PreprocessorConfig::from_json(&config.to_json()).unwrap(), config);
        assert_eq!(serde_json::to_string(&config.size).unwrap(), size);
    }

    for (config, message) in [
        (
            r#"{"size": {"shortest_edge": 224}}"#,
            "size: The `size` dictionary must contain the keys `height` and `width`",
        ),
        (r#"{"size": {"shortest_edge": 0}, "do_resize": false}"#, "size.shortest_edge = 0: must lie between"),
        (
            r#"{"size": {"height": 9, "longest_edge": 9}}"#,
            "size = {\"height\":9,\"longest_edge\":9}: must be",
        ),
        (r#"{"size": {"height": null}}"#, "size = {\"height\":null}: must be"),
        (r#"{"size": {}}"#, "size = {}: must be a whole number for a square"),
        (r#"{"size": [9, 9, 9]}"#, "size = [9,9,9]: must be a whole number for a square"),
        (r#"{"size": 0}"#, "size.height = 0: must lie between 1 and 8192"),
        (r#"{"size": {"height": 9, "width": 9000}}"#, "size.width = 9000"),
        (r#"{"resample": 6}"#, "resample = 6: must be Pillow's number of a filter: 0 nearest"),
        (r#"{"image_std": [1, 0, 1]}"#, "image_std = [1.0, 0.0, 1.0]: must be numbers that f32 can hold"),
        (r#"{"image_mean": [1, 0]}"#, "image_mean = [1,0]: must be a number, or a list of three"),
        (r#"{"do_resize": 1}"#, "do_resize = 1: must be true or false"),
        // Numbers that exceed f32, by themselves or in the computation.
        (r#"{"image_mean": 1e308}"#, "image_mean = [1e308, 1e308, 1e308]: must be numbers that f32 can hold"),
        (r#"{"image_std": 1e-320}"#, "none of them zero in it"),
        (r#"{"image_std": [1, 1e39, 1]}"#, "image_std = [1.0, 1e39, 1.0]: must be numbers that f32 can hold"),
        (r#"{"image_std": [1, 1e-44, 1]}"#, "the values of green exceed"),
        (r#"{"image_std": [0.5]}"#, "image_std = [0.5]: must be a number, or a list of three"),
        (r#"{"rescale_factor": 1e300}"#, "rescale_factor = 1e300: must be"),
        (r#"{"rescale_factor": 2e36}"#, "rescale_factor = 2e36: must be"),
        (r#"{"image_mean": [0.5, NaN, 0.5]}"#, "image_mean = [0.5,\"NaN\",0.5]: must be a number"),
        (r#"{"image_std": [1, 1e400, 1]}"#, "image_std = [1,\"1e400\",1]: must be a number"),
        (r#"{"rescale_factor": Infinity}"#, "rescale_factor = \"Infinity\": must be a number"),
        (r#"{"image_processor": {"size": 0}}"#, "image_processor.size.height = 0: must lie"),
        (r#"{"image_processor": {"do_resize": 1}}"#, "image_processor.do_resize = 1: must be true or false"),
        (r#"{"image_processor": 1}"#, "image_processor = 1: must be an object"),
        (
            r#"{"image_processor": {"do_center_crop": true, "crop_size": 224, "size": 352}}"#,
            "image_processor.do_center_crop = true: ",
        ),
    ] {
        let error = PreprocessorConfig::from_json(config).unwrap_err().to_string();
        assert!(error.contains(message), "{config}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = Processor::from_dir(folder.path()).unwrap_err().to_string();
    assert!(error.contains("preprocessor_config.json is missing"), "{error}");
}

/// The file that transformers 5 saves instead of `preprocessor_config.json`, here with every null that it may
/// have.
/// `curl` without `--fail` saves it under the file's name.
#[test]
fn an_errors_message_is_not_taken_for_settings() {
    let error = r#"{"error":"Invalid credentials in Authorization header"}"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), error).unwrap();
    for refused in [PreprocessorConfig::from_file(folder.path()), PreprocessorConfig::from_json(error)] {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, Error::StandIn { .. }), "{refused}");
        assert!(refused.to_string().contains("(HF_TOKEN)"), "{refused}");
    }
}

#[test]
fn steps_that_releases_disagree_on_are_refused() {
    for step in ["do_resize", "do_rescale", "do_normalize"] {
        let message =
            PreprocessorConfig::from_json(&format!(r#"{{"{step}": null}}"#)).unwrap_err().to_string();
        assert!(message.contains(&format!("{step} = null: must be true or false")), "{message}");
    }
}

#[test]
fn the_processor_config_of_transformers_5_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let open = || Processor::from_dir(folder.path()).map(|processor| processor.config().clone());
    let nested = r#"{"image_processor": {"crop_size": null, "data_format": "channels_first", "device": null,
        "do_center_crop": null, "do_convert_rgb": null, "do_normalize": true, "do_rescale": null, "do_resize": null,
        "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "ViTImageProcessorFast", "image_std": null,
        "input_data_format": null, "resample": 3, "rescale_factor": null, "return_tensors": null,
        "size": {"height": 352, "longest_edge": null, "shortest_edge": null, "width": 352}},
        "processor_class": "CLIPSegProcessor"}"#;
    write("processor_config.json", nested);
    let config = open().unwrap();
    let expected = PreprocessorConfig {
        size: ImageSize::Sides { height: 352, width: 352 },
        image_mean: [0.485, 0.456, 0.406],
        resample: Resample::Bicubic,
        ..PreprocessorConfig::default()
    };
    assert_eq!(PreprocessorConfig { extra: Default::default(), ..config.clone() }, expected);
    assert_eq!(config.extra["image_processor_type"], "ViTImageProcessorFast");
    assert_eq!(PreprocessorConfig::from_json(nested).unwrap(), config);
    assert_eq!(PreprocessorConfig::from_file(folder.path().join("processor_config.json")).unwrap(), config);

    // With both files there, they may differ in settings that do not matter.
    write("preprocessor_config.json", &expected.to_json());
    assert_eq!(open().unwrap().size, expected.size);
    write("preprocessor_config.json", r#"{"size": 224}"#);
    let message = open().unwrap_err().to_string();
    assert!(message.contains("processor_config.json: image_processor differs from preproc"), "{message}");
    // Releases before 5 do not write the image processor's settings there.
    for old in [r#"{"processor_class": "CLIPSegProcessor"}"#, r#"{"image_processor": null}"#] {
        write("processor_config.json", old);
        assert_eq!(open().unwrap().size, ImageSize::Sides { height: 224, width: 224 });
    }
    std::fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("/preprocessor_config.json is missing")
            && message.contains("processor_config.json of"),
        "{message}"
    );
    write("processor_config.json", r#"{"image_processor": {"image_std": [0, 1, 1]}}"#);
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("processor_config.json: image_processor.image_std = [0.0, 1.0, 1.0]"),
        "{message}"
    );
}
