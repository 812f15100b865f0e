enable f16;
enable wgpu_cooperative_matrix;

// Rows and columns of a matrix.
const SIDE: u32 = 16u;
// Lanes of a subgroup.
const LANES: u32 = 32u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;
