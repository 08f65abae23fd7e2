// AdamW over one flat buffer of parameters (vipnp/optim/adamw.py), and the clipping of its gradients by their norm
// (vipnp/optim/clip.py).

// Arrays that one launch joins.
constexpr int PARTS = 128;

// Up to PARTS arrays: the k-th has entries start[k] to start[k + 1] of all of them one after another.
template <typename A>
struct Parts {
    const A* from[PARTS];
    long long start[PARTS + 1];
};

// flat = the first `count` arrays of `parts` one after another. flat (start[count],); grid ceil(start[count] / THREADS),
// block THREADS.
template <typename A>
__global__ void __launch_bounds__(THREADS)
join(Parts<A> parts, int count, A* flat) {
    const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= parts.start[count]) return;
    int part = 0;
    for (int step = PARTS / 2; step > 0; step /= 2)
        if (part + step < count && parts.start[part + step] <= i) part += step;
    flat[i] = parts.from[part][i - parts.start[part]];
}

// partial[block] = sum of g^2 over the entries of this block. g (size,); grid any, block THREADS.
template <typename A>
__global__ void __launch_bounds__(THREADS)
sum_of_squares(const A* g, A* partial, long long size) {
    SHARED(A, scratch, THREADS / 32);
    A sum = 0;
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x; i < size;
         i += static_cast<long long>(gridDim.x) * THREADS)
        sum += g[i] * g[i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    A total = 0;
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; ++warp) total += scratch[warp];
    partial[blockIdx.x] = total;
}

// clipped = g * min(1, max_norm / (norm + eps)),  norm = sqrt(*squares);  norm_out = norm.
//
// g, clipped (size,); squares, norm_out (). grid ceil(size / THREADS), block THREADS.
template <typename A>
__global__ void __launch_bounds__(THREADS)
clip_gradient(const A* g, const A* squares, A max_norm, A eps, A* clipped, A* norm_out, long long size) {
    const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    const A norm = square_root(*squares);
    if (i == 0) *norm_out = norm;
    if (i >= size) return;
    const A scale = max_norm / (norm + eps);
    clipped[i] = scale > 1 ? g[i] : g[i] * scale;
}

// new_m = beta1 * m + (1 - beta1) * g,  new_v = beta2 * v + (1 - beta2) * g^2,
// new_p = p * decay - step_size * new_m / (sqrt(new_v) / root_correction + eps),
// decay on the first `decayed` entries alone. m and v are taken as 0 where they are null, at the first step. `factors`,
// where it is not null, holds decay, step_size and root_correction: a step that is recorded in a graph reads them anew.
//
// p, g, m, v, new_p, new_m, new_v (size,), each new array the memory of the old one or of its own; factors (3,).
// grid ceil(size / THREADS), block THREADS.
template <typename A>
__global__ void __launch_bounds__(THREADS)
adamw_update(const A* p, const A* g, const A* m, const A* v, A* new_p, A* new_m, A* new_v, long long size,
             long long decayed, const A* factors, A decay, A beta1, A rest1, A beta2, A rest2, A eps, A step_size,
             A root_correction) {
    const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= size) return;
    if (factors) {
        decay = factors[0];
        step_size = factors[1];
        root_correction = factors[2];
    }
    A mean = rest1 * g[i], square = rest2 * g[i] * g[i];
    if (m) mean += beta1 * m[i];
    if (v) square += beta2 * v[i];
    new_m[i] = mean;
    new_v[i] = square;
    const A held = i < decayed ? p[i] * decay : p[i];
    new_p[i] = held - step_size * mean / (square_root(square) / root_correction + eps);
}
