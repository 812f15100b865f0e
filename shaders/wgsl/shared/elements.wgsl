// One invocation per element. The workgroups lie in a grid that is folded where a side would be too long.
const THREADS: u32 = 64u;

fn element(id: vec3<u32>, grid: vec3<u32>) -> u32 {
    return id.x + id.y * grid.x * THREADS;
}
