enable f16;
enable wgpu_cooperative_matrix;

// Rows and columns of a matrix.
const SIDE: u32 = 16u;
// Lanes of a subgroup.
const LANES: u32 = 32u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

// What a tile in workgroup memory holds: vectors of four values. Vulkan loads matrices from these too, and
// counts a stride in them.
alias Halves = vec4<f16>;
alias Floats = vec4<f32>;
// Elements of a tile that four values take.
const ELEMENTS: u32 = 1u;
