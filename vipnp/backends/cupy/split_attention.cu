// Split attention over BRANCHES branches: pooled mean, weighted sum, and its backward pass in two passes.
//
// Each branch x_j stands in a layout of its own. A block has 32 channels of one sample and goes through its tokens,
// ROW_LANES at a time: grid (B, ceil(C / 32), any), block (32, ROW_LANES). Where a sum is taken over the tokens, they
// are not split over gridDim.z.

constexpr int ROW_LANES = 8;

// Adds up a value over the ROW_LANES threads of each channel; the sum is that of threadIdx.y == 0.
template <typename A, typename Scratch>
__device__ __forceinline__ A lane_sum(A value, Scratch& scratch) {
    __syncthreads();
    scratch[threadIdx.y * 32 + threadIdx.x] = value;
    __syncthreads();
    A total = 0;
    if (threadIdx.y == 0)
#pragma unroll
        for (int lane = 0; lane < ROW_LANES; ++lane) total += scratch[lane * 32 + threadIdx.x];
    return total;
}

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

// pooled[b, c] = mean over the tokens of sum_j x_j[b, h, w, c].
//
// x_j (B, H, W, C) in layout_j, null for j >= branches; pooled (B, C). gridDim.z is 1.
template <typename T>
__global__ void __launch_bounds__(32 * ROW_LANES, 4)
pool_forward(const T* x_0, const T* x_1, const T* x_2, int layout_0, int layout_1, int layout_2, Wide<T>* pooled,
             int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = blockIdx.y * 32 + threadIdx.x;
    const int b = blockIdx.x;
    const A inverse_tokens = A(1) / (H * W);
    A sum = 0;
    if (c < C)
        for (int token = threadIdx.y; token < H * W; token += ROW_LANES) {
            const int h = token / W, w = token % W;
            sum += static_cast<A>(x_0[place(layout_0, b, h, w, c, H, W, C, S)]);
            if (x_1) sum += static_cast<A>(x_1[place(layout_1, b, h, w, c, H, W, C, S)]);
            if (x_2) sum += static_cast<A>(x_2[place(layout_2, b, h, w, c, H, W, C, S)]);
        }
    SHARED(A, scratch, ROW_LANES * 32);
    const A total = lane_sum(sum, scratch);
    if (threadIdx.y == 0 && c < C) pooled[static_cast<long long>(b) * C + c] = total * inverse_tokens;
}

// dx[b, h, w, c] = dpooled[b, c] / (H*W).
template <typename T>
__global__ void __launch_bounds__(32 * ROW_LANES, 4)
pool_backward(const Wide<T>* dpooled, T* dx, int H, int W, int C) {
    const int c = blockIdx.y * 32 + threadIdx.x;
    if (c >= C) return;
    const int b = blockIdx.x;
    const T share = static_cast<T>(dpooled[static_cast<long long>(b) * C + c] / (H * W));
    for (int token = blockIdx.z * ROW_LANES + threadIdx.y; token < H * W; token += gridDim.z * ROW_LANES)
        dx[(static_cast<long long>(b) * H * W + token) * C + c] = share;
}

// y[b, h, w, c] = sum_j a[b, c, j] * x_j[b, h, w, c],  a = softmax(logits) over j.
//
// logits (B, C, BRANCHES); x_j (B, H, W, C) in layout_j, x_2 null where there are two; y (B, H, W, C).
template <typename T, int BRANCHES>
__global__ void __launch_bounds__(32 * ROW_LANES, 4)
split_attention_forward(const Wide<T>* logits, const T* x_0, const T* x_1, const T* x_2, int layout_0, int layout_1,
                        int layout_2, T* y, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = blockIdx.y * 32 + threadIdx.x;
    if (c >= C) return;
    const int b = blockIdx.x;
    A a[BRANCHES];
    softmax<A, BRANCHES>(logits + (static_cast<long long>(b) * C + c) * BRANCHES, a);
    for (int token = blockIdx.z * ROW_LANES + threadIdx.y; token < H * W; token += gridDim.z * ROW_LANES) {
        const int h = token / W, w = token % W;
        A sum = a[0] * static_cast<A>(x_0[place(layout_0, b, h, w, c, H, W, C, S)]);
        sum += a[1] * static_cast<A>(x_1[place(layout_1, b, h, w, c, H, W, C, S)]);
        if constexpr (BRANCHES == 3) sum += a[2] * static_cast<A>(x_2[place(layout_2, b, h, w, c, H, W, C, S)]);
        y[place(CHANNEL, b, h, w, c, H, W, C, S)] = static_cast<T>(sum);
    }
}

// First pass: da_j = sum over the tokens of dy * x_j, then dlogits_j = a_j * (da_j - sum_i a_i da_i).
//
// dy (B, H, W, C); dlogits (B, C, BRANCHES); the rest as in split_attention_forward. gridDim.z is 1.
template <typename T, int BRANCHES>
__global__ void __launch_bounds__(32 * ROW_LANES, 4)
split_attention_backward_logits(const T* dy, const Wide<T>* logits, const T* x_0, const T* x_1, const T* x_2,
                                int layout_0, int layout_1, int layout_2, Wide<T>* dlogits, int H, int W, int C,
                                int S) {
    using A = Wide<T>;
    const int c = blockIdx.y * 32 + threadIdx.x;
    const int b = blockIdx.x;
    A da[BRANCHES] = {};
    if (c < C)
        for (int token = threadIdx.y; token < H * W; token += ROW_LANES) {
            const int h = token / W, w = token % W;
            const A d = static_cast<A>(dy[place(CHANNEL, b, h, w, c, H, W, C, S)]);
            da[0] += d * static_cast<A>(x_0[place(layout_0, b, h, w, c, H, W, C, S)]);
            da[1] += d * static_cast<A>(x_1[place(layout_1, b, h, w, c, H, W, C, S)]);
            if constexpr (BRANCHES == 3) da[2] += d * static_cast<A>(x_2[place(layout_2, b, h, w, c, H, W, C, S)]);
        }
    SHARED(A, scratch, ROW_LANES * 32);
#pragma unroll
    for (int j = 0; j < BRANCHES; ++j) da[j] = lane_sum(da[j], scratch);
    if (threadIdx.y != 0 || c >= C) return;
    A a[BRANCHES];
    softmax<A, BRANCHES>(logits + (static_cast<long long>(b) * C + c) * BRANCHES, a);
    A mean = 0;
#pragma unroll
    for (int j = 0; j < BRANCHES; ++j) mean += a[j] * da[j];
#pragma unroll
    for (int j = 0; j < BRANCHES; ++j) dlogits[(static_cast<long long>(b) * C + c) * BRANCHES + j] = a[j] * (da[j] - mean);
}

// Second pass: dx_j = dy * a_j + dpooled[b, c] / (H*W), each in the layout of x_j. dpooled (B, C) may be null.
template <typename T, int BRANCHES>
__global__ void __launch_bounds__(32 * ROW_LANES, 4)
split_attention_backward_branches(const T* dy, const Wide<T>* logits, const Wide<T>* dpooled, int layout_0,
                                  int layout_1, int layout_2, T* dx_0, T* dx_1, T* dx_2, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int c = blockIdx.y * 32 + threadIdx.x;
    if (c >= C) return;
    const int b = blockIdx.x;
    A a[BRANCHES];
    softmax<A, BRANCHES>(logits + (static_cast<long long>(b) * C + c) * BRANCHES, a);
    const A share = dpooled ? dpooled[static_cast<long long>(b) * C + c] / (H * W) : A(0);
    for (int token = blockIdx.z * ROW_LANES + threadIdx.y; token < H * W; token += gridDim.z * ROW_LANES) {
        const int h = token / W, w = token % W;
        const A d = static_cast<A>(dy[place(CHANNEL, b, h, w, c, H, W, C, S)]);
        dx_0[place(layout_0, b, h, w, c, H, W, C, S)] = static_cast<T>(d * a[0] + share);
        dx_1[place(layout_1, b, h, w, c, H, W, C, S)] = static_cast<T>(d * a[1] + share);
        if constexpr (BRANCHES == 3) dx_2[place(layout_2, b, h, w, c, H, W, C, S)] = static_cast<T>(d * a[2] + share);
    }
}
