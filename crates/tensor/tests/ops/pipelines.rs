//! Pipelines: compiled by several threads, each once, and kept in a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use clipseg_tensor::{Activation, Device, DeviceOptions, Plan, Recorder, Tensor};

use super::support::{ACTIVATIONS, Random, assert_close, driver, run};

/// One op after the other, each of them another pipeline.
fn chain(recorder: &mut Recorder, input: &Tensor) -> clipseg_tensor::Result<Tensor> {
    let mut hidden = recorder.sigmoid(input)?;
    for activation in ACTIVATIONS {
        hidden = recorder.activation(&hidden, activation)?;
    }
    Ok(hidden)
}

fn record(device: &Device) -> Plan {
    let mut recorder = Recorder::new(device);
    let output = recorder.input(&[3, 17]).and_then(|input| chain(&mut recorder, &input));
    output.and_then(|output| recorder.output(&output)).expect("the ops are recorded");
    recorder.finish().expect("the plan is made")
}

#[test]
fn threads_that_record_the_same_kernels_compile_each_once() {
    const THREADS: usize = 6;
    let open = || Device::open(&driver()).expect("this test needs an adapter");
    let created_by = |device: &Device, record: &dyn Fn()| {
        let before = device.resources_created();
        record();
        device.resources_created() - before
    };
    let alone = open();
    let first = created_by(&alone, &|| drop(record(&alone)));
    let warm = created_by(&alone, &|| drop(record(&alone)));
    let pipelines = first - warm;
    assert_eq!(pipelines, 1 + ACTIVATIONS.len());

    let shared = open();
    let barrier = Barrier::new(THREADS);
    let all = created_by(&shared, &|| {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    record(&shared)
                });
            }
        });
    });
    assert_eq!(all, pipelines + THREADS * warm);
}

#[test]
fn a_recording_that_needs_a_pipeline_twice_compiles_it_once() {
    let device = Device::open(&driver()).expect("this test needs an adapter");
    let created = |ops: usize| {
        let before = device.resources_created();
        let mut recorder = Recorder::new(&device);
        let inputs: Vec<_> = (0..ops).map(|_| recorder.input(&[5]).unwrap()).collect();
        for input in &inputs {
            recorder.activation(input, Activation::Relu).unwrap();
        }
        recorder.finish().unwrap();
        device.resources_created() - before
    };
    let cold = created(4);
    assert_eq!(cold, created(4) + 1);
}

/// The numbers of a process that keeps its pipelines in `folder`.
fn numbers(folder: Option<&Path>) -> Vec<f32> {
    let options = DeviceOptions { pipeline_cache: folder.map(|folder| folder.to_owned().into()), ..driver() };
    let device = Device::open(&options).expect("this test needs an adapter");
    let input = device.upload(&[3, 17], &Random(7).values(3 * 17)).expect("the input fits");
    run(&device, |recorder| chain(recorder, &input))
}

fn only_file(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let files: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    let [file] = &files[..] else { panic!("one file, and nothing left of writing it: {files:?}") };
    file.clone()
}

/// Whether the adapter that devices are opened on by default can keep pipelines.
fn keeps_pipelines() -> bool {
    let adapters = pollster::block_on(clipseg_tensor::adapters());
    let keeps = adapters.first().is_some_and(|adapter| adapter.pipeline_cache);
    if !keeps {
        eprintln!("this adapter keeps no pipelines; nothing is tested");
    }
    keeps
}

#[test]
fn kept_pipelines_give_the_same_numbers() {
    if !keeps_pipelines() {
        return;
    }
    let expected = numbers(None);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made");
    assert_close(&numbers(Some(&folder)), &expected, 0.0);
    let whole = fs::read(only_file(&folder)).unwrap();
    assert!(whole.starts_with(b"clipseg pipelines "));
    assert_close(&numbers(Some(&folder)), &expected, 0.0);
    // What the driver has already is not lost. SwiftShader's puts a new header before it each time.
    assert!(fs::read(only_file(&folder)).unwrap().len() >= whole.len());
}

#[test]
fn a_damaged_or_foreign_file_is_ignored_and_replaced() {
    if !keeps_pipelines() {
        return;
    }
    let expected = numbers(None);
    let folder = tempfile::tempdir().unwrap();
    numbers(Some(folder.path()));
    let file = only_file(folder.path());
    let whole = fs::read(&file).unwrap();
    let header = |bytes: &[u8]| bytes.split(|byte| *byte == b' ').nth(2).map(<[u8]>::to_vec);
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    let foreign = "clipseg pipelines ".len();
    let damages = [
        whole[..whole.len() / 2].to_vec(),
        flipped(whole.len() - 1),
        flipped(foreign),
        Vec::new(),
        vec![0; 100],
        b"clipseg pipelines\n".to_vec(),
    ];
    for damage in damages {
        fs::write(&file, &damage).unwrap();
        assert_close(&numbers(Some(folder.path())), &expected, 0.0);
        let rebuilt = fs::read(only_file(folder.path())).unwrap();
        assert!(rebuilt != damage && header(&rebuilt) == header(&whole), "{damage:?}");
    }
}

#[test]
fn places_that_cannot_be_read_or_written_do_no_harm() {
    if !keeps_pipelines() {
        return;
    }
    let expected = numbers(None);
    let folder = tempfile::tempdir().unwrap();
    numbers(Some(folder.path()));
    let file = only_file(folder.path());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_close(&numbers(Some(folder.path())), &expected, 0.0);
    assert!(only_file(folder.path()).is_dir());

    let no_folder = folder.path().join("file");
    fs::write(&no_folder, "no folder").unwrap();
    assert_close(&numbers(Some(&no_folder)), &expected, 0.0);
    assert_eq!(fs::read(&no_folder).unwrap(), b"no folder");
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_does_no_harm() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    assert_close(&numbers(Some(folder.path())), &numbers(None), 0.0);
    // Root may write all the same, which does no harm either.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
}
