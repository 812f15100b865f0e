use super::*;

/// The end of every call that builds a tensor: the arguments after the strides, and the call.
const REBUILD: &[u8] = b"\x89ccollections\nOrderedDict\n)RtR";

/// A program that puts one tensor of f32 into a dict. Its storage has `length` numbers; shape and strides
/// have one dimension.
fn one_tensor(length: i32, offset: i32, shape: i32, stride: i32) -> Vec<u8> {
    let int = |number: i32| [b"J".as_slice(), &number.to_le_bytes()].concat();
    [
        b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n",
        &b"X\x01\0\0\x000X\x03\0\0\0cpu"[..],
        &int(length),
        b"tQ",
        &int(offset),
        &int(shape),
        b"\x85",
        &int(stride),
        b"\x85",
        REBUILD,
        b"s.",
    ]
    .concat()
}

fn refused(program: &[u8], dialect: Dialect) -> String {
    read_tensors(program, dialect).expect_err("the program should be refused")
}

#[test]
fn a_tensor_is_read() {
    let tensors = read_tensors(&one_tensor(8, 2, 3, 2), Dialect::StateDict).unwrap();
    let [(name, tensor)] = &tensors[..] else { panic!("{tensors:?}") };
    assert_eq!((name.as_str(), tensor.shape(), tensor.storage().bytes()), ("a", &[3][..], 32));
}

/// `os.system` as `pickle.dumps` writes it on Linux, as the call that makes the state dict, as one of its
/// values, and uncalled; in both dialects.
#[test]
fn a_program_that_asks_for_more_is_refused_by_name() {
    for program in [
        &b"\x80\x02cposix\nsystem\nX\x04\0\0\0true\x85R."[..],
        b"\x80\x02}X\x01\0\0\0acposix\nsystem\nX\x04\0\0\0true\x85Rs.",
        b"\x80\x02cposix\nsystem\n.",
    ] {
        for dialect in [Dialect::StateDict, Dialect::TorchScript] {
            let message = refused(program, dialect);
            assert!(message.contains("posix.system") && message.contains("refused"), "{message}");
        }
    }
    for name in [
        "builtins\neval",
        "__builtin__\neval",
        "torch\nload",
        "torch.nn\nFloatStorage",
        "torch._utils\n_rebuild_tensor_v3",
        "collections\nOrderedDict.fromkeys",
        "__torch__.M\nM",
        "torch.jit._pickle\nbuild_intlist",
        "torch.storage\n_load_from_bytes",
        "torch\nQUInt8Storage",
    ] {
        let message =
            refused(format!("\u{0}c{name}\n.").trim_start_matches('\0').as_bytes(), Dialect::StateDict);
        assert!(message.contains(&name.replace('\n', ".")), "{name}: {message}");
    }
    let message = refused(b"c__torch__x\nM\n.", Dialect::TorchScript);
    assert!(message.contains("__torch__x.M"), "{message}");
}

/// Opcodes that pickle has but state dicts do not need: other ways to call, to name, and to extend.
#[test]
fn other_opcodes_are_refused() {
    for opcode in
        [b'i', b'o', 0x92, 0x93, 0x82, 0x83, 0x84, 0x8c, 0x94, 0x95, b'P', b'0', b'2', b'I', b'S', 0xff]
    {
        let message = refused(&[0x80, 2, b'N', opcode, 0, 0], Dialect::TorchScript);
        assert!(message.contains(&format!("0x{opcode:02x} at byte 3")), "{message}");
    }
    assert!(refused(b"\x80\x04N.", Dialect::StateDict).contains("protocol 4"));
}

#[test]
fn what_is_on_the_list_cannot_be_misused() {
    for (program, word) in [
        // Known classes called with the wrong arguments.
        (&b"c__torch__\nM\n)R."[..], "calls ModuleClass"),
        (b"ctorch\nFloatStorage\n)R.", "calls Storage"),
        (b"ccollections\nOrderedDict\n(NNtR.", "calls OrderedDict with 2"),
        (b"ctorch._utils\n_rebuild_parameter\nN\x85R.", "calls RebuildParameter"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0))tR.", "on None"),
        (b"N)R.", "not a function"),
        (b"ccollections\nOrderedDict\nNR.", "a tuple is due"),
        // Objects of other classes, and states for other values.
        (b"ccollections\nOrderedDict\n)\x81.", "not a TorchScript module"),
        (b"N)\x81.", "not a TorchScript module"),
        (b"c__torch__\nM\n)\x81Nb.", "as its state"),
        (b"N}b.", "gives None a state"),
        (b"NNNs.", "sets items of None"),
        (b"}(Nu.", "a key without a value"),
        (b"NNa.", "appends to None"),
        (b"NQ.", "a tuple is due"),
        (b"(X\x07\0\0\0storageNNNNtQ.", "not (\"storage\""),
        // Programs that misuse the machine.
        (b".", "empty stack"),
        (b"N(R.", "empty stack"),
        (b"N(t(\x85.", "empty stack"),
        (b"t.", "mark"),
        (b"h\x05.", "the value 5"),
        (b"q\x05.", "empty stack"),
        (b"X\xff\xff\xff\xffabc", "ends in the middle"),
        (b"X\x02\0\0\0\xff\xfe.", "UTF-8"),
        (b"ctorch", "ends in the middle"),
        (b"\x8a\x09123456789.", "9 bytes"),
        (b"", "ends in the middle"),
        // Results that are not tensors by name.
        (b"N.", "holds None instead"),
        (b"K\x01.", "a whole number"),
    ] {
        let message = refused(program, Dialect::TorchScript);
        assert!(message.contains(word), "{program:?}: {message}");
    }
    for (program, word) in [
        (&b"}K\x01Ns."[..], "a whole number as a name"),
        (b"}X\x01\0\0\0aNs.", "`a` is None"),
        (b"}X\x01\0\0\0a}s.", "`a` is a dict"),
    ] {
        let message = refused(program, Dialect::StateDict);
        assert!(message.contains(word), "{program:?}: {message}");
    }
}

#[test]
fn tensors_that_lie_are_refused() {
    for (program, word) in [
        (one_tensor(8, 6, 3, 1), "ends beyond"),
        (one_tensor(8, 8, 9, 0), "ends beyond"),
        (one_tensor(8, 0, i32::MAX, i32::MAX), "ends beyond"),
        (one_tensor(8, 0, 3, i32::MAX), "ends beyond"),
        (one_tensor(8, -1, 3, 1), "offset -1"),
        (one_tensor(8, 0, -3, 1), "shape -3"),
        (one_tensor(8, 0, 3, -1), "strides -1"),
        (one_tensor(-8, 0, 3, 1), "length -8"),
    ] {
        let message = refused(&program, Dialect::StateDict);
        assert!(message.contains(word) && message.ends_with("(tensor `a`)"), "{message}");
    }
}

/// What a storage lacks, a view may repeat; how much of it is written is decided where it is known that the
/// model needs it.
#[test]
fn expanded_views_are_described() {
    for size in [9, i32::MAX] {
        let tensors = read_tensors(&one_tensor(8, 0, size, 0), Dialect::StateDict).unwrap();
        assert_eq!(tensors[0].1.shape(), [size as usize]);
    }
}

/// PyTorch saves a view of which it has turned the signs (`x.conj().imag`) as it was before, and notes that.
#[test]
fn numbers_that_mean_others_are_refused() {
    let with = |metadata: &[u8]| {
        let whole = one_tensor(8, 2, 3, 2);
        let before = &whole[..whole.len() - b"tRs.".len()];
        [before, metadata, b"tRs."].concat()
    };
    for (metadata, words) in [
        (&b"}X\x03\0\0\0neg\x88s"[..], [".resolve_neg()", "tensor `a`"]),
        (b"}X\x04\0\0\0conj\x88s", [".resolve_conj()", "tensor `a`"]),
        (b"}X\x05\0\0\0other\x88s", ["`other`", "tensor `a`"]),
        (b"}K\x01\x88s", ["a whole number", "tensor `a`"]),
        (b"K\x01", ["a whole number", "tensor `a`"]),
    ] {
        let message = refused(&with(metadata), Dialect::StateDict);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    for nothing in [&b""[..], b"}", b"N"] {
        assert_eq!(read_tensors(&with(nothing), Dialect::StateDict).unwrap().len(), 1);
    }
}

/// Small programs that describe endless data: they end with an error, in bounded time, stack and memory.
#[test]
fn endless_things_end() {
    // A million nested tuples.
    let mut nested = b")".to_vec();
    nested.resize(MAX_VALUES - 1, 0x85);
    nested.push(b'.');
    assert!(refused(&nested, Dialect::StateDict).contains("a tuple instead"));
    nested.splice(1..1, [0x85; 9]);
    assert!(refused(&nested, Dialect::StateDict).contains("objects"));
    assert!(refused(&vec![b'N'; MAX_VALUES + 1], Dialect::StateDict).contains("values at once"));
    assert!(refused(&vec![b'('; MAX_VALUES + 1], Dialect::StateDict).contains("values at once"));

    // A module that is its own attribute.
    let module = b"c__torch__\nM\n)\x81q\x00}X\x01\0\0\0ah\x00sb.";
    assert!(refused(module, Dialect::TorchScript).contains("deep"));

    // Forty modules, each of which has the previous one as two attributes: 2⁴⁰ attributes.
    let mut doubling = b"c__torch__\nM\nq\x00)\x81q\x01".to_vec();
    for _ in 0..40 {
        doubling.extend_from_slice(b"h\x00)\x81}(X\x01\0\0\0ah\x01X\x01\0\0\0bh\x01ubq\x01");
    }
    doubling.push(b'.');
    assert!(refused(&doubling, Dialect::TorchScript).contains("attributes"));
}

/// Modules that share one dict of many attributes: memory grows with the length of the program, not with the
/// number of modules times attributes.
#[test]
fn attributes_that_modules_share_are_held_once() {
    let mut program = b"c__torch__\nM\nr\x00\0\0\0}r\x01\0\0\0(".to_vec();
    for number in 0..10_000_u32 {
        program.extend(b"X\x04\0\0\0");
        program.extend(format!("{number:04x}").bytes());
        program.extend(b"N");
    }
    program.extend(b"u(");
    for _ in 0..10_000 {
        program.extend(b"h\0)\x81h\x01b");
    }
    program.extend(b"t.");
    let (_, objects) = Machine::new(&program, Dialect::TorchScript).run().unwrap();
    assert!(objects.held() < program.len(), "{} of {} bytes", objects.held(), program.len());
}

/// One long text used as the name of many tensors, and one long tuple as their shape.
#[test]
fn long_texts_and_tuples_that_are_recalled_are_not_multiplied() {
    let text = |length: usize| [b"X", &(length as u32).to_le_bytes()[..], &vec![b'x'; length]].concat();
    let tensor = one_tensor(8, 2, 3, 2);
    // The part between the tensor's name and the end.
    let tensor = &tensor[9..tensor.len() - 2];
    let named = |length: usize, count: usize| {
        let mut program = [b"\x80\x02", &text(length)[..], b"q\x01", tensor, b"q\x02}("].concat();
        for _ in 0..count {
            program.extend(b"h\x01h\x02");
        }
        program.extend(b"u.");
        program
    };
    assert_eq!(read_tensors(&named(4000, 10), Dialect::StateDict).unwrap().len(), 10);
    assert!(refused(&named(5000, 1), Dialect::StateDict).contains("more than 4096 bytes"));
    assert!(refused(&named(4000, 10_000), Dialect::StateDict).contains("names of more than"));
    assert!(refused(&named(4, 70_000), Dialect::StateDict).contains("more than 65536 tensors"));

    let mut shape = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x08tQK\0(".to_vec();
    shape.extend(vec![b')'; 1000]);
    shape.extend(b"t)tR.");
    assert!(
        refused(&shape, Dialect::StateDict).contains("a shape of 1000 numbers"),
        "{}",
        refused(&shape, Dialect::StateDict)
    );
}

/// Names with terminal commands, and very long names, in messages.
#[test]
fn names_are_shown_escaped_and_cut() {
    let long = format!("c{}\nname\n.", "\u{1b}[2J".repeat(10_000));
    let message = refused(long.as_bytes(), Dialect::StateDict);
    assert!(
        message.contains("\\u{1b}[2J") && !message.contains('\u{1b}') && message.len() < 3_000,
        "{message}"
    );
    let message = refused(b"}X\x03\0\0\0a\x1bbNs.", Dialect::StateDict);
    assert!(message.contains("`a\\u{1b}b` is None"), "{message}");
}

proptest::proptest! {
    /// Any bytes give a result or an error.
    #[test]
    fn no_program_panics(program in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = read_tensors(&program, Dialect::TorchScript);
    }

    /// The same for programs close to an accepted one.
    #[test]
    fn no_changed_program_panics(place in 0..140_usize, byte in proptest::num::u8::ANY) {
        let mut program = one_tensor(8, 2, 3, 2);
        let place = place % program.len();
        program[place] = byte;
        let _ = read_tensors(&program, Dialect::StateDict);
    }
}
