// Split attention over BRANCHES branches: pooled mean, weighted sum, and its backward pass
// (vipnp/ops/global_average_pool.py, split_attention.py).
//
// y = sum_j a_j * x_j,  a = softmax of the logits over j. A branch has an effect in two places:
//   1. dy * a_j          from the sum, at x_j
//   2. dpooled / (H*W)   from the pooled mean, at x_j, through the layer that makes the logits of it
// and the logits one: dlogits_j = a_j * sum_k a_k (da_j - da_k), da_j the sum of dy * x_j over the tokens.
//
// Each branch x_j stands in a layout of its own. A block has CHANNEL_LANES * VEC channels of one sample and a share of
// its tokens, TOKEN_LANES of which it takes at a time: grid (B, ceil(C / (CHANNEL_LANES * VEC)), any), block
// (CHANNEL_LANES, TOKEN_LANES). VEC divides C and, where a layout is permuted, S.

constexpr int CHANNEL_LANES = 8;
constexpr int TOKEN_LANES = 32;
static_assert(THREADS == CHANNEL_LANES * TOKEN_LANES, "the threads of a block");

// a_j = exp(logit_j) / sum_i exp(logit_i), the largest logit subtracted first.
template <typename A, int BRANCHES>
__device__ __forceinline__ void softmax(const A* logits, A (&a)[BRANCHES]) {
    A largest = logits[0];
#pragma unroll
    for (int j = 1; j < BRANCHES; ++j) largest = max(largest, logits[j]);
    A total = 0;
#pragma unroll
    for (int j = 0; j < BRANCHES; ++j) total += a[j] = exponential(logits[j] - largest);
    const A inverse = reciprocal(total);
#pragma unroll
    for (int j = 0; j < BRANCHES; ++j) a[j] *= inverse;
}

// The tokens that a thread goes through, from `token` on, with where its channel c stands in each of the layouts: the
// next token is some columns and rows further on, and one row more where it goes past the end of a row.
template <int BRANCHES>
struct Tokens {
    int token, end, w, next_w, W, at[BRANCHES], next[BRANCHES], wrap[BRANCHES];

    __device__ __forceinline__ Tokens(const int (&layouts)[3], int c, int H, int W, int C, int S) : W(W) {
        const int share = (H * W - 1) / static_cast<int>(gridDim.z) + 1;
        token = blockIdx.z * share + threadIdx.y;
        end = min(static_cast<int>(blockIdx.z + 1) * share, H * W);
        const int h = token / W, n = c / S, s = c % S;
        w = token % W;
        next_w = TOKEN_LANES % W;
#pragma unroll
        for (int j = 0; j < BRANCHES; ++j) {
            const int right = layouts[j] == CHANNEL ? C : layouts[j] == HEIGHT ? H * S : S;
            const int down = layouts[j] == HEIGHT ? S : W * C;
            const int first = layouts[j] == CHANNEL ? c : n * W * right + s;
            at[j] = first + h * down + w * right;
            next[j] = TOKEN_LANES / W * down + next_w * right;
            wrap[j] = down - W * right;
        }
    }

    __device__ __forceinline__ void advance() {
        token += TOKEN_LANES;
        w += next_w;
        const bool wraps = w >= W;
        w -= wraps ? W : 0;
#pragma unroll
        for (int j = 0; j < BRANCHES; ++j) at[j] += next[j] + (wraps ? wrap[j] : 0);
    }
};

// Adds up, over the TOKEN_LANES threads that have the same channels, what each holds for them; writes it to out, which
// has `width` columns, COLUMNS of them a block.
template <int COUNT, typename A, typename Scratch>
__device__ __forceinline__ void write_token_sums(const A (&sums)[COUNT], Scratch& scratch, A* out, int width) {
    constexpr int COLUMNS = CHANNEL_LANES * COUNT;
    static_assert(COLUMNS <= THREADS, "one thread a column");
#pragma unroll
    for (int i = 0; i < COUNT; ++i) scratch[threadIdx.y * COLUMNS + threadIdx.x * COUNT + i] = sums[i];
    __syncthreads();
    const int i = threadIdx.y * CHANNEL_LANES + threadIdx.x;
    if (i >= COLUMNS || blockIdx.y * COLUMNS + i >= width) return;
    A total = 0;
#pragma unroll
    for (int lane = 0; lane < TOKEN_LANES; lane += 4)
        total += (scratch[lane * COLUMNS + i] + scratch[(lane + 1) * COLUMNS + i]) +
                 (scratch[(lane + 2) * COLUMNS + i] + scratch[(lane + 3) * COLUMNS + i]);
    out[blockIdx.y * COLUMNS + i] = total;
}

// partial[z, b, c] = sum over the tokens of the blocks (., ., z) of sum_j x_j[b, h, w, c] / (H*W).
//
// x_j (B, H, W, C) in layout_j, null for j >= BRANCHES; partial (gridDim.z, B, C).
template <typename T, int VEC, int BRANCHES>
__global__ void __launch_bounds__(THREADS, 2)
pool_forward(const T* x_0, const T* x_1, const T* x_2, int layout_0, int layout_1, int layout_2, Wide<T>* partial,
             int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = (blockIdx.y * CHANNEL_LANES + threadIdx.x) * VEC;
    const long long image = static_cast<long long>(blockIdx.x) * H * W * C;
    const T* const x[3] = {x_0, x_1, x_2};
    const A inverse_tokens = A(1) / (H * W);
    A sum[VEC] = {};
    if (c < C)
        for (Tokens<BRANCHES> to({layout_0, layout_1, layout_2}, c, H, W, C, S); to.token < to.end; to.advance()) {
            A of_token[VEC] = {};
#pragma unroll
            for (int j = 0; j < BRANCHES; ++j) {
                A value[VEC];
                load<T, VEC>(x[j] + image + to.at[j], value);
#pragma unroll
                for (int v = 0; v < VEC; ++v) of_token[v] += value[v];
            }
#pragma unroll
            for (int v = 0; v < VEC; ++v) sum[v] += of_token[v];
        }
#pragma unroll
    for (int v = 0; v < VEC; ++v) sum[v] *= inverse_tokens;
    SHARED(A, scratch, THREADS * VEC);
    write_token_sums<VEC>(sum, scratch, partial + (static_cast<long long>(blockIdx.z) * gridDim.x + blockIdx.x) * C, C);
}

// dx[b, h, w, c] = dpooled[b, c] / (H*W).
//
// dpooled (B, C), dx (B, H, W, C).
template <typename T, int VEC>
__global__ void __launch_bounds__(THREADS)
pool_backward(const Wide<T>* dpooled, T* dx, int H, int W, int C) {
    using A = Wide<T>;
    const int c = (blockIdx.y * CHANNEL_LANES + threadIdx.x) * VEC;
    if (c >= C) return;
    const long long image = static_cast<long long>(blockIdx.x) * H * W * C;
    A share[VEC];
#pragma unroll
    for (int v = 0; v < VEC; ++v) share[v] = dpooled[static_cast<long long>(blockIdx.x) * C + c + v] / (H * W);
    for (Tokens<1> to({CHANNEL, CHANNEL, CHANNEL}, c, H, W, C, C); to.token < to.end; to.advance())
        store<T, VEC>(dx + image + to.at[0], share);
}

// y[b, h, w, c] = sum_j a[b, c, j] * x_j[b, h, w, c],  a = softmax(logits) over j.
//
// logits (B, C, BRANCHES); x_j (B, H, W, C) in layout_j, x_2 null where there are two; y (B, H, W, C).
template <typename T, int VEC, int BRANCHES>
__global__ void __launch_bounds__(THREADS)
split_attention_forward(const Wide<T>* logits, const T* x_0, const T* x_1, const T* x_2, int layout_0, int layout_1,
                        int layout_2, T* y, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = (blockIdx.y * CHANNEL_LANES + threadIdx.x) * VEC;
    if (c >= C) return;
    const long long image = static_cast<long long>(blockIdx.x) * H * W * C;
    const T* const x[3] = {x_0, x_1, x_2};
    A a[VEC][BRANCHES];
#pragma unroll
    for (int v = 0; v < VEC; ++v)
        softmax<A, BRANCHES>(logits + (static_cast<long long>(blockIdx.x) * C + c + v) * BRANCHES, a[v]);
    for (Tokens<BRANCHES> to({layout_0, layout_1, layout_2}, c, H, W, C, S); to.token < to.end; to.advance()) {
        A out[VEC] = {};
#pragma unroll
        for (int j = 0; j < BRANCHES; ++j) {
            A value[VEC];
            load<T, VEC>(x[j] + image + to.at[j], value);
#pragma unroll
            for (int v = 0; v < VEC; ++v) out[v] += a[v][j] * value[v];
        }
        store<T, VEC>(y + image + static_cast<long long>(to.token) * C + c, out);
    }
}

// partial[z, b, c, j] = sum over the tokens of the blocks (., ., z) of dy * x_j: what the weight a_j gets back.
//
// dy (B, H, W, C); partial (gridDim.z, B, C, BRANCHES); the rest as in split_attention_forward.
template <typename T, int VEC, int BRANCHES>
__global__ void __launch_bounds__(THREADS, 2)
split_attention_backward_weights(const T* dy, const T* x_0, const T* x_1, const T* x_2, int layout_0, int layout_1,
                                 int layout_2, Wide<T>* partial, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = (blockIdx.y * CHANNEL_LANES + threadIdx.x) * VEC;
    const long long image = static_cast<long long>(blockIdx.x) * H * W * C;
    const T* const x[3] = {x_0, x_1, x_2};
    A sum[VEC * BRANCHES] = {};
    if (c < C)
        for (Tokens<BRANCHES> to({layout_0, layout_1, layout_2}, c, H, W, C, S); to.token < to.end; to.advance()) {
            A d[VEC];
            load<T, VEC>(dy + image + static_cast<long long>(to.token) * C + c, d);
#pragma unroll
            for (int j = 0; j < BRANCHES; ++j) {
                A value[VEC];
                load<T, VEC>(x[j] + image + to.at[j], value);
#pragma unroll
                for (int v = 0; v < VEC; ++v) sum[v * BRANCHES + j] += d[v] * value[v];
            }
        }
    SHARED(A, scratch, THREADS * VEC * BRANCHES);
    write_token_sums<VEC * BRANCHES>(
        sum, scratch, partial + (static_cast<long long>(blockIdx.z) * gridDim.x + blockIdx.x) * C * BRANCHES,
        C * BRANCHES);
}

// dlogits_j = a_j * (da_j - sum_k a_k da_k) = a_j * sum_k a_k (da_j - da_k),  da = the sum of the `shares` rows of
// partial. The differences come first: where they are small, so is their rounding.
//
// partial (shares, size, BRANCHES), logits, dlogits (size, BRANCHES), size = B*C. grid ceil(size / THREADS), block THREADS.
template <typename A, int BRANCHES>
__global__ void __launch_bounds__(THREADS)
split_attention_backward_logits(const A* partial, const A* logits, A* dlogits, int shares, int size) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    A da[BRANCHES] = {}, a[BRANCHES];
    for (int share = 0; share < shares; ++share)
#pragma unroll
        for (int j = 0; j < BRANCHES; ++j) da[j] += partial[(static_cast<long long>(share) * size + i) * BRANCHES + j];
    softmax<A, BRANCHES>(logits + static_cast<long long>(i) * BRANCHES, a);
#pragma unroll
    for (int j = 0; j < BRANCHES; ++j) {
        A above = 0;
#pragma unroll
        for (int k = 0; k < BRANCHES; ++k) above += a[k] * (da[j] - da[k]);
        dlogits[static_cast<long long>(i) * BRANCHES + j] = a[j] * above;
    }
}

// dx_j = dy * a_j + dpooled[b, c] / (H*W), terms 1 and 2, each in the layout of x_j. dpooled (B, C) may be null.
template <typename T, int VEC, int BRANCHES>
__global__ void __launch_bounds__(THREADS)
split_attention_backward_branches(const T* dy, const Wide<T>* logits, const Wide<T>* dpooled, T* dx_0,
                                  T* dx_1, T* dx_2, int layout_0, int layout_1, int layout_2, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = (blockIdx.y * CHANNEL_LANES + threadIdx.x) * VEC;
    if (c >= C) return;
    const long long image = static_cast<long long>(blockIdx.x) * H * W * C;
    T* const dx[3] = {dx_0, dx_1, dx_2};
    A a[VEC][BRANCHES], share[VEC];
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        const long long i = static_cast<long long>(blockIdx.x) * C + c + v;
        softmax<A, BRANCHES>(logits + i * BRANCHES, a[v]);
        share[v] = dpooled ? dpooled[i] / (H * W) : A(0);
    }
    for (Tokens<BRANCHES> to({layout_0, layout_1, layout_2}, c, H, W, C, S); to.token < to.end; to.advance()) {
        A d[VEC];
        load<T, VEC>(dy + image + static_cast<long long>(to.token) * C + c, d);
#pragma unroll
        for (int j = 0; j < BRANCHES; ++j) {
            A out[VEC];
#pragma unroll
            for (int v = 0; v < VEC; ++v) out[v] = d[v] * a[v][j] + share[v];
            store<T, VEC>(dx[j] + image + to.at[j], out);
        }
    }
}
