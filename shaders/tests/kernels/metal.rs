//! What Metal's compiler would meet in the kernels for matrices of 8×8, the only ones that it has. No such
//! compiler is here, and naga writes texts that it refuses: a matrix is loaded through a pointer to a scalar,
//! to which naga gives the address of whatever element the array has.

use std::fs;
use std::path::Path;

use clipseg_shaders::kernels::{ALL, matmul_cooperative_16};
use naga::back::msl;
use naga::{Expression, Handle, Module, TypeInner};

use super::variants::validator;
use super::writers::UNCHECKED;

/// The texts for matrices of 8×8: of the kernels, and of what measures the rate of their multiplication.
fn texts() -> Vec<(String, String)> {
    let of_8 = ALL.iter().filter(|kernel| kernel.source.contains("coop_mat8x8"));
    let mut texts: Vec<_> = of_8.map(|kernel| (kernel.name.to_owned(), kernel.source.to_owned())).collect();
    let peaks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tensor/src/peaks");
    let part = |name| fs::read_to_string(peaks.join(name)).expect("it lies there");
    texts.push(("peaks/matrix_8".to_owned(), part("matrix_8.wgsl") + &part("matrix_body.wgsl")));
    assert!(texts.len() > 6, "{} texts", texts.len());
    texts
}

/// A text's module, and what it is in Metal's language.
fn in_metal(wgsl: &str) -> (Module, String) {
    let module = naga::front::wgsl::parse_str(wgsl).expect("a kernel");
    let info = validator().validate(&module).expect("a kernel");
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let none = naga::back::PipelineConstants::default();
    let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &none)
        .expect("overrides have defaults");
    let options =
        msl::Options { lang_version: (2, 3), bounds_check_policies: UNCHECKED, ..Default::default() };
    let (text, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
        .expect("naga writes it");
    (module.into_owned(), text)
}

/// What the array `name` in workgroup memory is of.
fn element<'a>(text: &'a str, name: &str) -> &'a str {
    let (before, _) = text.split_once(&format!("& {name}")).expect(name);
    let kind = before.rsplit(' ').next().expect(name);
    let (_, fields) = text.split_once(&format!("struct {kind} {{\n    ")).expect(kind);
    let element = fields.split(' ').next().expect(kind);
    // Behind the name that WGSL gives it.
    let (before, _) = text.split_once(&format!(" {element};\n")).unwrap_or((element, ""));
    before.rsplit(' ').next().expect(element)
}

/// What each call of `function` is given the address of an element of: its array's elements.
fn addressed<'a>(text: &'a str, function: &str) -> Vec<&'a str> {
    let call = format!("{function}(");
    let calls = text.split(&call).skip(1).filter(|call| !call.starts_with("const "));
    let arrays = calls.map(|call| {
        let (_, address) = call.split_once('&').expect("an address");
        address.split_once(".inner[").expect("of an element of an array").0
    });
    arrays.map(|array| element(text, array)).collect()
}

#[test]
fn matrices_lie_in_arrays_of_scalars() {
    for (name, wgsl) in texts() {
        let (_, text) = in_metal(&wgsl);
        let loads = addressed(&text, "NagaCooperativeLoad");
        assert!(loads.len() > 1 && loads.iter().all(|&element| element == "half"), "{name}: {loads:?}");
        let stores = addressed(&text, "simdgroup_store");
        assert!(!stores.is_empty() && stores.iter().all(|&element| element == "float"), "{name}: {stores:?}");
        let takes = "metal::simdgroup_half8x8 NagaCooperativeLoad(const threadgroup half* ptr, int stride,";
        assert_eq!(text.matches(takes).count(), 1, "{name}");
    }
    // Metal has no such matrices, but this is what would be told.
    let (_, text) = in_metal(matmul_cooperative_16::KERNEL.source);
    assert!(addressed(&text, "NagaCooperativeLoad").iter().all(|&element| element == "metal::half4"));
    assert!(addressed(&text, "simdgroup_store").iter().all(|&element| element == "metal::float4"));
}

/// How often operators are applied to matrices; Metal has functions alone.
fn operators_on_matrices(module: &Module) -> usize {
    let info = validator().validate(module).expect("a kernel");
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let functions = functions.chain([(&module.entry_points[0].function, info.get_entry_point(0))]);
    let of_one = functions.map(|(function, info)| {
        let is_matrix = |(handle, expression): &(Handle<Expression>, &Expression)| {
            let is_operator = matches!(expression, Expression::Binary { .. } | Expression::Unary { .. });
            let kind = info[*handle].ty.inner_with(&module.types);
            is_operator && matches!(kind, TypeInner::CooperativeMatrix { .. })
        };
        function.expressions.iter().filter(is_matrix).count()
    });
    of_one.sum()
}

#[test]
fn matrices_meet_functions_alone() {
    for (name, wgsl) in texts() {
        assert_eq!(operators_on_matrices(&in_metal(&wgsl).0), 0, "{name}");
        let (before, stored) = wgsl.split_once("coopStoreT(").expect(&name);
        let sums = stored.split(',').next().expect(&name);
        let changed = format!("{before}coopStoreT({sums} + {stored}");
        assert_eq!(operators_on_matrices(&in_metal(&changed).0), 1, "{name}");
    }
}
