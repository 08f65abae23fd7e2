// Softmax cross-entropy against distributions or against labels with smoothing, one block a row of logits (B, K):
// vipnp/ops/soft_cross_entropy.py and cross_entropy.py.
//
// loss = -1/B sum_b sum_k t_k log p_k,  p = softmax(logits of b). The gradient at a logit has two terms:
//   1. p * sum_k t_k   from the logarithm of the sum of exponentials
//   2. -t              from the logit itself

// Threads of a block.
constexpr int ROW_THREADS = 128;

template <typename A, bool LARGEST, typename Scratch>
__device__ __forceinline__ A block_reduce(A value, Scratch& scratch) {
    value = LARGEST ? warp_max(value) : warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    A all = scratch[0];
#pragma unroll
    for (int warp = 1; warp < ROW_THREADS / 32; ++warp) {
        const A other = scratch[warp];
        all = LARGEST ? max(all, other) : all + other;
    }
    return all;
}

// The target of class k: an entry of `targets`, or where that is null (1 - smoothing) * [k == label] + share,
// share = smoothing / K.
template <typename A>
__device__ __forceinline__ A target_of(const A* targets, const long long* labels, A smoothing, A share, long long b,
                                       int k, int K) {
    if (targets) return targets[b * K + k];
    return (k == labels[b] ? 1 - smoothing : A(0)) + share;
}

// row_loss[b] = -1/B sum_k t_k log p_k, where a class of t_k = 0 adds 0 also for a logit of -inf.
// What backward needs of a row, saved (B, 3): its largest logit, 1 / sum_j exp(logit_j - largest) and sum_k t_k.
//
// logits (B, K); targets (B, K) or labels (B,), the other null; row_loss (B,). grid B, block ROW_THREADS.
template <typename A>
__global__ void __launch_bounds__(ROW_THREADS, 4)
cross_entropy_forward(const A* logits, const A* targets, const long long* labels, A smoothing, A share, A* row_loss,
                      A* saved, A inverse_B, int K) {
    SHARED(A, scratch, ROW_THREADS / 32);
    const long long b = blockIdx.x;
    const A* const row = logits + b * K;
    A largest = row[0];
    for (int k = threadIdx.x; k < K; k += ROW_THREADS) largest = max(largest, row[k]);
    largest = block_reduce<A, true>(largest, scratch);

    A total = 0, sum_t = 0, sum_t_logit = 0;
    for (int k = threadIdx.x; k < K; k += ROW_THREADS) {
        const A shifted = row[k] - largest, t = target_of(targets, labels, smoothing, share, b, k, K);
        total += exponential(shifted);
        sum_t += t;
        if (t != 0) sum_t_logit += t * shifted;
    }
    total = block_reduce<A, false>(total, scratch);
    sum_t = block_reduce<A, false>(sum_t, scratch);
    sum_t_logit = block_reduce<A, false>(sum_t_logit, scratch);
    if (threadIdx.x == 0) {
        row_loss[b] = (sum_t * logarithm(total) - sum_t_logit) * inverse_B;
        saved[b * 3] = largest;
        saved[b * 3 + 1] = 1 / total;
        saved[b * 3 + 2] = sum_t;
    }
}

// dlogits = dloss / B * (p * sum_k t_k - t), terms 1 and 2.
//
// dloss (); the rest as in cross_entropy_forward. grid B, block ROW_THREADS.
template <typename A>
__global__ void __launch_bounds__(ROW_THREADS, 4)
cross_entropy_backward(const A* dloss, const A* logits, const A* targets, const long long* labels, A smoothing, A share,
                       const A* saved, A* dlogits, A inverse_B, int K) {
    const long long b = blockIdx.x;
    const A scale = *dloss * inverse_B, largest = saved[b * 3], inverse = saved[b * 3 + 1], mass = saved[b * 3 + 2];
    for (int k = threadIdx.x; k < K; k += ROW_THREADS) {
        const A p = exponential(logits[b * K + k] - largest) * inverse;
        dlogits[b * K + k] = scale * (p * mass - target_of(targets, labels, smoothing, share, b, k, K));
    }
}
