use clipseg_shaders::kernels;
use clipseg_shaders::twins::BinaryOperation;

use super::shape_error;
use crate::cost::product_flops;
use crate::tensor::DType;
use crate::{Recorder, Result, Tensor};

/// Rows and columns of the output per workgroup of the product.
const TILE: usize = kernels::batched_matmul::TILE as usize;

impl Recorder {
    /// `input + other`. `other` has the shape of `input`, or that of its last dimensions and stands for all
    /// before them, as a bias does; or it is one value, which stands for all.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn add(&mut self, input: &Tensor, other: &Tensor) -> Result<Tensor> {
        self.binary("add", BinaryOperation::Add, input, other)
    }

    /// `input - other`, as [`add`](Self::add).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn sub(&mut self, input: &Tensor, other: &Tensor) -> Result<Tensor> {
        self.binary("sub", BinaryOperation::Sub, input, other)
    }

    /// `input · other`, value by value, as [`add`](Self::add).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn mul(&mut self, input: &Tensor, other: &Tensor) -> Result<Tensor> {
        self.binary("mul", BinaryOperation::Mul, input, other)
    }

    /// `input / other`, value by value, as [`add`](Self::add).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn div(&mut self, input: &Tensor, other: &Tensor) -> Result<Tensor> {
        self.binary("div", BinaryOperation::Div, input, other)
    }

    fn binary(
        &mut self,
        op: &'static str,
        operation: BinaryOperation,
        input: &Tensor,
        other: &Tensor,
    ) -> Result<Tensor> {
        expect_f32(op, &[input, other])?;
        let fits = input.shape().ends_with(other.shape()) && (!other.is_empty() || input.is_empty());
        if !fits && other.len() != 1 {
            let reason = format!(
                "{input:?} and {other:?}; expected one shape, that of the last dimensions, or one value"
            );
            return shape_error(op, reason);
        }
        let output = self.allocate(input.shape(), DType::F32)?;
        let params = kernels::binary::Params { length: input.len() as u32, other_length: other.len() as u32 };
        let resources = vec![self.buffer(input)?, self.buffer(other)?, self.buffer(&output)?];
        let overrides = kernels::binary::Overrides { operation: operation as u32 }.values();
        self.dispatch_1d(
            &kernels::binary::KERNEL,
            &overrides,
            params,
            resources,
            output.len(),
            output.len() as u64,
        )?;
        Ok(output)
    }

    /// The dimensions in another order: dimension `i` of the output is `order[i]` of the input, as PyTorch's
    /// `permute`. Of at most four.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when `order` does not name each dimension once, or there are
    /// more than four.
    pub fn permute(&mut self, input: &Tensor, order: &[usize]) -> Result<Tensor> {
        let shape = input.shape();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if shape.len() > 4 || !sorted.iter().copied().eq(0..shape.len()) {
            return shape_error(
                "permute",
                format!("{input:?} in the order {order:?}; expected each of at most four dimensions"),
            );
        }
        let strides = strides(shape);
        let sizes: Vec<_> = order.iter().map(|&dimension| shape[dimension]).collect();
        let strides: Vec<_> = order.iter().map(|&dimension| strides[dimension]).collect();
        self.strided_copy("permute", input, 0, &sizes, &strides)
    }

    /// The last two dimensions exchanged, of a tensor of at most four: a batch of matrices transposed.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there are fewer than two dimensions, or more than four.
    pub fn transpose(&mut self, input: &Tensor) -> Result<Tensor> {
        let dimensions = input.shape().len();
        if dimensions < 2 {
            return shape_error("transpose", format!("{input:?}, expected two dimensions at least"));
        }
        let mut order: Vec<_> = (0..dimensions).collect();
        order.swap(dimensions - 2, dimensions - 1);
        self.permute(input, &order)
    }

    /// The same values under other dimensions, whichever; [`Tensor::reshape`] does it where the last one
    /// stays.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the number of values would change.
    pub fn reshape(&mut self, input: &Tensor, shape: &[usize]) -> Result<Tensor> {
        self.buffer_of(input)?;
        input.view(shape)
    }

    /// `length` entries of a dimension from `start` on, as PyTorch's `narrow`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there is no such dimension, or it has fewer entries.
    pub fn slice(&mut self, input: &Tensor, dimension: usize, start: usize, length: usize) -> Result<Tensor> {
        let shape = input.shape();
        let is_within = |size: &usize| start.checked_add(length).is_some_and(|end| end <= *size);
        if !shape.get(dimension).is_some_and(is_within) {
            return shape_error(
                "slice",
                format!("{length} entries from {start} on of dimension {dimension} of {input:?}"),
            );
        }
        // As [outer, dimension, inner], of which there is always room in four dimensions.
        let [outer, size, inner] = around(shape, dimension);
        let sliced = self.strided_copy(
            "slice",
            input,
            start * inner,
            &[outer, length, inner],
            &[size * inner, inner, 1],
        )?;
        let mut sizes = shape.to_vec();
        sizes[dimension] = length;
        sliced.view(&sizes)
    }

    /// A copy that goes through the input by `strides`, from `start` on.
    fn strided_copy(
        &mut self,
        op: &'static str,
        input: &Tensor,
        start: usize,
        sizes: &[usize],
        strides: &[usize],
    ) -> Result<Tensor> {
        expect_f32(op, &[input])?;
        let output = self.allocate(sizes, DType::F32)?;
        let fill = 4 - sizes.len();
        let size = |axis: usize| axis.checked_sub(fill).map_or(1, |axis| sizes[axis] as u32);
        let stride = |axis: usize| axis.checked_sub(fill).map_or(0, |axis| strides[axis] as u32);
        let params = kernels::strided_copy::Params {
            length: output.len() as u32,
            start: start as u32,
            size_1: size(1),
            size_2: size(2),
            size_3: size(3),
            stride_0: stride(0),
            stride_1: stride(1),
            stride_2: stride(2),
            stride_3: stride(3),
        };
        let resources = vec![self.buffer(input)?.with_bytes(output.bytes()), self.buffer(&output)?];
        self.dispatch_1d(&kernels::strided_copy::KERNEL, &[], params, resources, output.len(), 0)?;
        Ok(output)
    }

    /// `left` with `right` behind it along a dimension, as PyTorch's `cat`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there is no such dimension, or the others differ.
    pub fn concat(&mut self, left: &Tensor, right: &Tensor, dimension: usize) -> Result<Tensor> {
        expect_f32("concat", &[left, right])?;
        let mut shape = left.shape().to_vec();
        let added = right.shape().get(dimension).copied();
        let (Some(size), Some(added)) = (shape.get_mut(dimension), added) else {
            return shape_error("concat", format!("{left:?} and {right:?} along dimension {dimension}"));
        };
        *size += added;
        let mut expected = left.shape().to_vec();
        expected[dimension] = added;
        if right.shape() != expected {
            return shape_error(
                "concat",
                format!("{left:?} and {right:?} along dimension {dimension}; the others must agree"),
            );
        }
        let [_, left_size, inner] = around(left.shape(), dimension);
        let output = self.allocate(&shape, DType::F32)?;
        let params = kernels::concat::Params {
            length: output.len() as u32,
            left_columns: (left_size * inner) as u32,
            right_columns: (added * inner) as u32,
        };
        let resources = vec![self.buffer(left)?, self.buffer(right)?, self.buffer(&output)?];
        self.dispatch_1d(&kernels::concat::KERNEL, &[], params, resources, output.len(), 0)?;
        Ok(output)
    }

    /// The product of two activations, matrix by matrix: `[.., M, K] · [.., K, N]`, `[.., M, N]`. `right` has
    /// the leading dimensions of `left`, or none and stands for all. Where `right` holds weights,
    /// [`linear`](Self::linear) is quicker.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the shapes do not fit.
    pub fn matmul(&mut self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        self.batched_matmul("matmul", left, right, false)
    }

    /// As [`matmul`](Self::matmul) with `right` `[.., N, K]`: `left · rightᵀ`, as of queries and keys.
    ///
    /// # Errors
    /// As [`matmul`](Self::matmul).
    pub fn matmul_transposed(&mut self, left: &Tensor, right: &Tensor) -> Result<Tensor> {
        self.batched_matmul("matmul_transposed", left, right, true)
    }

    fn batched_matmul(
        &mut self,
        op: &'static str,
        left: &Tensor,
        right: &Tensor,
        transposed: bool,
    ) -> Result<Tensor> {
        expect_f32(op, &[left, right])?;
        let mismatch = || shape_error(op, format!("{left:?} and {right:?}"));
        let ([batch @ .., rows, inner], [others @ .., first, second]) = (left.shape(), right.shape()) else {
            return mismatch();
        };
        let (right_inner, columns) = if transposed { (*second, *first) } else { (*first, *second) };
        if right_inner != *inner || !(others.is_empty() || others == batch) {
            return mismatch();
        }
        let matrices: usize = batch.iter().product();
        let shape = [batch, &[*rows, columns]].concat();
        let output = self.allocate(&shape, DType::F32)?;
        let params = kernels::batched_matmul::Params {
            rows: *rows as u32,
            inner: *inner as u32,
            columns: columns as u32,
            right_transposed: transposed.into(),
            right_shared: others.is_empty().into(),
        };
        let resources = vec![self.buffer(left)?, self.buffer(right)?, self.buffer(&output)?];
        let grid = [columns.div_ceil(TILE) as u32, rows.div_ceil(TILE) as u32, matrices as u32];
        let flops = product_flops(matrices * rows, *inner, columns);
        self.dispatch(&kernels::batched_matmul::KERNEL, &[], params, resources, grid, flops)?;
        Ok(output)
    }
}

/// Refuses integers and f16, which the kernels would take for floats.
fn expect_f32(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|tensor| tensor.dtype() != DType::F32) {
        None => Ok(()),
        Some(other) => shape_error(op, format!("{other:?}, expected f32")),
    }
}

/// Elements from one entry of each dimension to the next.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|axis| shape[axis..].iter().product()).collect()
}

/// A shape as what is before a dimension, its size, and what is within it.
fn around(shape: &[usize], dimension: usize) -> [usize; 3] {
    let product = |part: &[usize]| part.iter().product();
    [product(&shape[..dimension]), shape[dimension], product(&shape[dimension + 1..])]
}
