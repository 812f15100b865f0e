enable f16;
enable wgpu_cooperative_matrix;

// Rows and columns of a matrix.
const SIDE: u32 = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;

// What a tile in workgroup memory holds: scalars, because Metal loads a matrix from nothing else. Vulkan
// takes them as well, and both count a stride in them.
alias Halves = f16;
alias Floats = f32;
// Elements of a tile that four values take.
const ELEMENTS: u32 = 4u;
