// Rows that subgroups have one each, whatever their size: those of a workgroup take its rows in turn. The
// kernel counts the lanes, since a driver may run fewer together than the size that it reports. A subgroup is
// a run of neighbouring threads, as with every driver that is known.
const THREADS: u32 = 128u;
// Of a workgroup: as many as it has subgroups of 32 lanes.
const ROWS: u32 = 4u;

fn first_row(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return (workgroup.x + workgroup.y * grid.x) * ROWS;
}

fn end_of_rows(workgroup: vec3<u32>, grid: vec3<u32>) -> u32 {
    return min(first_row(workgroup, grid) + ROWS, params.rows);
}
