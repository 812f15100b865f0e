//! The ops and their variants.

use clipseg_shaders::Kernel;
use clipseg_shaders::kernels::{
    activation, attention, attention_lanes, attention_vec4, binary, layer_norm, layer_norm_lanes,
    layer_norm_vec4, matmul_broadcast, matmul_skinny, matmul_tile, matmul_tile_dot,
    matmul_tile_double_buffered, matmul_tile_vec4, sigmoid, softmax, softmax_lanes,
};
use serde_json::json;

use super::{Contract, Form, Op, folded};

/// Every op.
pub fn ops() -> Vec<Op> {
    vec![
        gemm(),
        attentions(),
        layer_norms(),
        softmaxes(),
        arithmetic("Add", 0),
        arithmetic("Mul", 2),
        quick_gelu(),
        sigmoids(),
    ]
}

/// One workgroup per so many elements.
fn by_element(kernel: &Kernel, elements: &str) -> [String; 3] {
    folded(&format!("ceilDiv({elements}, {})", kernel.workgroup_size[0]))
}

fn when(conditions: &[&str]) -> Vec<String> {
    conditions.iter().map(|condition| (*condition).to_owned()).collect()
}

/// The product, with ONNX's name: our weights lie as its second operand does where that is transposed.
fn gemm() -> Op {
    let square = |side: u32| [side; 2];
    let table = [
        (
            &matmul_skinny::KERNEL,
            [matmul_skinny::TILE_ROWS, matmul_skinny::TILE_COLUMNS],
            &["K % 4 == 0", "M <= 16"][..],
        ),
        (&matmul_tile_vec4::KERNEL, square(matmul_tile_vec4::TILE), &["K % 4 == 0", "N % 4 == 0"]),
        (&matmul_tile::KERNEL, square(matmul_tile::TILE), &[]),
        (&matmul_tile_dot::KERNEL, square(matmul_tile_dot::TILE), &["K % 4 == 0", "N % 4 == 0"]),
        (
            &matmul_tile_double_buffered::KERNEL,
            square(matmul_tile_double_buffered::TILE),
            &["K % 4 == 0", "N % 4 == 0"],
        ),
        (
            &matmul_broadcast::KERNEL,
            [matmul_broadcast::TILE_ROWS, matmul_broadcast::TILE_COLUMNS],
            &["K % 4 == 0", "N % 4 == 0"],
        ),
    ];
    let form =
        |(place, (kernel, [rows, columns], conditions)): (usize, &(&'static Kernel, [u32; 2], &[&str]))| {
            let grid = [format!("ceilDiv(N, {columns})"), format!("ceilDiv(M, {rows})"), "1".to_owned()];
            let with_bias = |has_bias: bool| {
                let mut conditions = when(conditions);
                conditions.insert(0, "takes".to_owned());
                conditions.extend(
                    grid[..2]
                        .iter()
                        .map(|side| format!("{side} <= device.limits.maxComputeWorkgroupsPerDimension")),
                );
                conditions.extend(match has_bias {
                    true => when(&["present.c", "ranks.c == 1", "dim(shapes.c, 0) == N"]),
                    false => when(&["not present.c"]),
                });
                // The operands that parameters leave out need some buffer.
                let bias = if has_bias { "c" } else { "a" };
                Form {
                    suffix: if has_bias { "_bias" } else { "" },
                    priority: (10 * (table.len() - place)) as u32,
                    when: conditions,
                    params: vec![
                        ("rows", "M"),
                        ("columns", "N"),
                        ("inner", "K"),
                        ("has_bias", if has_bias { "1" } else { "0" }),
                    ],
                    buffers: vec![
                        ("input", "a"),
                        ("weight", "b"),
                        ("bias", bias),
                        ("residual", "a"),
                        ("output", "y"),
                    ],
                    overrides: vec![("ACTIVATION", 0)],
                    ..Form::new(kernel, grid.clone())
                }
            };
            [with_bias(true), with_bias(false)]
        };
    let forms = table.iter().enumerate().flat_map(form).collect();
    Contract {
        domain: "ai.onnx",
        name: "Gemm",
        since_version: Some(13),
        description: "A [M, K] · B [N, K]ᵀ + C [N]: the linear layer. Of ONNX's op the form with transB = 1, transA = 0, \
                      alpha = 1, beta = 1 and a bias of one row, or none.",
        inputs: vec![("a", "A", false), ("b", "B", false), ("c", "C", true)],
        output: ("y", "Y", json!(["dim(shapes.a, 0)", "dim(shapes.b, 0)"])),
        attributes: vec![
            ("alpha", json!(1), "What the product is multiplied by."),
            ("beta", json!(1), "What C is multiplied by."),
            ("transA", json!(0), "Whether A is transposed."),
            ("transB", json!(0), "Whether B is transposed."),
        ],
        derive: vec![
            ("M", "dim(shapes.a, 0)"),
            ("N", "dim(shapes.b, 0)"),
            ("K", "dim(shapes.a, -1)"),
            (
                "takes",
                "ranks.a == 2 and ranks.b == 2 and dim(shapes.b, -1) == K and attrs.alpha == 1 and attrs.beta == 1 and \
                 attrs.transA == 0 and attrs.transB == 1",
            ),
        ],
    }
    .op(forms)
}

/// Attention over fused queries, keys and values, which ONNX has no op for in this order.
fn attentions() -> Op {
    let form = |kernel: &'static Kernel, queries: u32, most: u32, multiple: u32, priority| Form {
        priority,
        when: vec![
            "ranks.query_key_value == 3 and attrs.heads > 0 and width % (3 * attrs.heads) == 0".to_owned(),
            format!("headSize <= {most} and headSize % {multiple} == 0"),
        ],
        params: vec![
            ("tokens", "tokens"),
            ("heads", "attrs.heads"),
            ("head_size", "headSize"),
            ("causal", "attrs.causal"),
            ("scale", "1 / pow(headSize, 0.5)"),
        ],
        buffers: ["query_key_value", "key_mask", "cu_seqlens"].map(|name| (name, "query_key_value")).to_vec(),
        overrides: kernel.overrides.iter().map(|name| (*name, 0)).collect(),
        ..Form::new(
            kernel,
            [
                format!("ceilDiv(tokens, {queries})"),
                "attrs.heads".to_owned(),
                "dim(shapes.query_key_value, 0)".to_owned(),
            ],
        )
    };
    let vec4 = form(&attention_vec4::KERNEL, attention_vec4::QUERIES, attention_vec4::MAX_HEAD_SIZE, 4, 20);
    let plain = form(&attention::KERNEL, attention::QUERIES, attention::MAX_HEAD_SIZE, 1, 10);
    let lanes =
        form(&attention_lanes::KERNEL, attention_lanes::QUERIES, attention_lanes::MAX_HEAD_SIZE, 4, 5);
    Contract {
        domain: "clipseg",
        name: "Attention",
        since_version: None,
        description: "softmax(query · keyᵀ / √head_size) · value of each head, of queries, keys and values side by side: \
                      [batch, tokens, 3 · heads · head_size] to [batch, tokens, heads · head_size].",
        inputs: vec![("query_key_value", "query_key_value", false)],
        output: ("output", "output", json!(["dim(shapes.query_key_value, 0)", "tokens", "floor(width / 3)"])),
        attributes: vec![
            ("heads", json!(1), "The number of heads."),
            ("causal", json!(0), "1 where a query sees keys up to its own position alone."),
        ],
        derive: vec![
            ("tokens", "dim(shapes.query_key_value, 1)"),
            ("width", "dim(shapes.query_key_value, -1)"),
            ("headSize", "floor(width / (3 * attrs.heads))"),
        ],
    }
    .op(vec![vec4, plain, lanes])
}

fn layer_norms() -> Op {
    let form = |kernel: &'static Kernel, rows: u32, priority, condition: Option<String>| Form {
        priority,
        when: ["takes".to_owned()].into_iter().chain(condition).collect(),
        params: vec![("rows", "R"), ("columns", "C"), ("epsilon", "attrs.epsilon")],
        buffers: vec![("input", "x"), ("weight", "scale"), ("bias", "b"), ("output", "y")],
        overrides: kernel.overrides.iter().map(|name| (*name, 0)).collect(),
        ..Form::new(kernel, folded(&format!("ceilDiv(R, {rows})")))
    };
    let most = layer_norm_vec4::MAX_COLUMNS;
    let vec4 = form(&layer_norm_vec4::KERNEL, 1, 20, Some(format!("C % 4 == 0 and C <= {most}")));
    let plain = form(&layer_norm::KERNEL, 1, 10, None);
    let lanes = form(&layer_norm_lanes::KERNEL, layer_norm_lanes::ROWS, 5, Some("C % 4 == 0".to_owned()));
    Contract {
        domain: "ai.onnx",
        name: "LayerNormalization",
        since_version: Some(17),
        description: "(X - mean) / √(variance + epsilon) · Scale + B over the last dimension, with a bias and one output.",
        inputs: vec![("x", "X", false), ("scale", "Scale", false), ("b", "B", true)],
        output: ("y", "Y", json!("shapes.x")),
        attributes: vec![
            ("axis", json!(-1), "The first dimension of the mean: the last one."),
            ("epsilon", json!(1e-5), "What is added to the variance."),
        ],
        derive: vec![
            ("R", "outer(shapes.x, -1)"),
            ("C", "dim(shapes.x, -1)"),
            (
                "takes",
                "present.b and (attrs.axis == -1 or attrs.axis == ranks.x - 1) and numel(shapes.scale) == C and \
                 numel(shapes.b) == C",
            ),
        ],
    }
    .op(vec![vec4, plain, lanes])
}

fn softmaxes() -> Op {
    let form = |kernel: &'static Kernel, rows: u32, priority| Form {
        priority,
        when: when(&["attrs.axis == -1 or attrs.axis == ranks.x - 1"]),
        params: vec![("rows", "outer(shapes.x, -1)"), ("columns", "dim(shapes.x, -1)")],
        buffers: vec![("input", "x"), ("output", "y")],
        ..Form::new(kernel, folded(&format!("ceilDiv(outer(shapes.x, -1), {rows})")))
    };
    Contract {
        domain: "ai.onnx",
        name: "Softmax",
        since_version: Some(13),
        description: "exp(input - max) / sum over the last dimension.",
        inputs: vec![("x", "input", false)],
        output: ("y", "output", json!("shapes.x")),
        attributes: vec![("axis", json!(-1), "The dimension: the last one.")],
        derive: vec![],
    }
    .op(vec![form(&softmax::KERNEL, 1, 20), form(&softmax_lanes::KERNEL, softmax_lanes::ROWS, 10)])
}

fn arithmetic(name: &'static str, operation: u32) -> Op {
    let form = Form {
        when: when(&["sameShape(shapes.b, suffix(shapes.a, ranks.a - ranks.b))", "numel(shapes.b) > 0"]),
        params: vec![("length", "numel(shapes.a)"), ("other_length", "numel(shapes.b)")],
        buffers: vec![("input", "a"), ("other", "b"), ("output", "c")],
        overrides: vec![("OPERATION", operation)],
        ..Form::new(&binary::KERNEL, by_element(&binary::KERNEL, "numel(shapes.a)"))
    };
    Contract {
        domain: "ai.onnx",
        name,
        since_version: Some(14),
        description: "Value by value, of two tensors of one shape, or with the last dimensions of A as B's.",
        inputs: vec![("a", "A", false), ("b", "B", false)],
        output: ("c", "C", json!("broadcastShape(shapes.a, shapes.b)")),
        attributes: vec![],
        derive: vec![],
    }
    .op(vec![form])
}

fn quick_gelu() -> Op {
    let form = Form {
        when: when(&["attrs.alpha == 1.702"]),
        params: vec![("length", "numel(shapes.x)")],
        buffers: vec![("input", "x"), ("output", "y")],
        overrides: vec![("ACTIVATION", clipseg_shaders::Activation::QuickGelu as u32)],
        ..Form::new(&activation::KERNEL, by_element(&activation::KERNEL, "numel(shapes.x)"))
    };
    Contract {
        domain: "com.microsoft",
        name: "QuickGelu",
        since_version: Some(1),
        description: "x · σ(1.702 · x).",
        inputs: vec![("x", "X", false)],
        output: ("y", "Y", json!("shapes.x")),
        attributes: vec![("alpha", json!(1.702), "The factor within the sigmoid.")],
        derive: vec![],
    }
    .op(vec![form])
}

fn sigmoids() -> Op {
    let form = Form {
        params: vec![("length", "numel(shapes.x)")],
        buffers: vec![("input", "x"), ("output", "y")],
        ..Form::new(&sigmoid::KERNEL, by_element(&sigmoid::KERNEL, "numel(shapes.x)"))
    };
    Contract {
        domain: "ai.onnx",
        name: "Sigmoid",
        since_version: Some(13),
        description: "1 / (1 + exp(-x)).",
        inputs: vec![("x", "X", false)],
        output: ("y", "Y", json!("shapes.x")),
        attributes: vec![],
        derive: vec![],
    }
    .op(vec![form])
}
