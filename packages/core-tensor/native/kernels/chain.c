// Chains of operations: rows, pieces and threads, the same for every instruction set; and the loops of any processor.
#define FOR
#define LOOPS chain_loops_plain
#include "chain-loops.h"
#include <stdlib.h>

extern const ChainLoops chain_loops_avx512, chain_loops_avx2;

const ChainLoops *chain_loops(void) {
#ifdef POSTTRAIN_X86
  if (arithmetic_named("avx512")) return &chain_loops_avx512;
  if (arithmetic_named("avx2")) return &chain_loops_avx2;
#endif
  return &chain_loops_plain;
}

// Elements of a piece where rows can be cut: some values of a chain stay in the first cache. And elements of a task.
enum { PIECE = 1024, ELEMENTS_OF_A_TASK = 1 << 15 };
// Scratch memory up to this many floats is on the stack.
enum { FLOATS_ON_STACK = 1 << 14 };

int prepare_chain(Chain *chain) {
  int first_step = chain->inputs + chain->constants, values = first_step + chain->steps;
  chain->is_flat = 1;
  for (int v = 0; v < first_step; v++) {
    int spread = v < chain->inputs ? chain->spread[v] : SPREAD_SINGLE;
    chain->is_wide[v] = spread == SPREAD_FULL || spread == SPREAD_COLUMN;
    if (spread == SPREAD_ROW || spread == SPREAD_COLUMN) chain->is_flat = 0;
  }
  for (int s = 0; s < chain->steps; s++) {
    const Step *step = &chain->step[s];
    int v = first_step + s, has_b = step->operation < CHAIN_BINARIES;
    if (step->operation < 0 || step->operation >= CHAIN_OPERATIONS) return 1;
    if (step->a < 0 || step->a >= v || (has_b && (step->b < 0 || step->b >= v))) return 1;
    int is_reduction = step->operation >= CHAIN_UNARIES;
    if (is_reduction && !chain->is_wide[step->a]) return 1;
    chain->is_wide[v] = !is_reduction && (chain->is_wide[step->a] || (has_b && chain->is_wide[step->b]));
    if (is_reduction) chain->is_flat = 0;
  }
  // Slots: a step never writes where its operands are; one that is read no more is free for the next.
  int last_use[MOST_VALUES], slot_is_taken[MOST_STEPS] = {0};
  for (int v = 0; v < values; v++) last_use[v] = -1;
  for (int s = 0; s < chain->steps; s++) {
    last_use[chain->step[s].a] = s;
    if (chain->step[s].operation < CHAIN_BINARIES) last_use[chain->step[s].b] = s;
  }
  for (int o = 0; o < chain->outputs; o++) {
    if (chain->result[o] < first_step || chain->result[o] >= values) return 1;
    // One number a row is written row by row.
    if (!chain->is_wide[chain->result[o]]) chain->is_flat = 0;
    last_use[chain->result[o]] = chain->steps;
  }
  chain->slots = 0;
  for (int s = 0; s < chain->steps; s++) {
    chain->slot[s] = -1;
    if (chain->is_wide[first_step + s]) {
      int slot = 0;
      while (slot_is_taken[slot]) slot++;
      slot_is_taken[slot] = 1;
      chain->slot[s] = slot;
      if (slot >= chain->slots) chain->slots = slot + 1;
    }
    for (int before = 0; before <= s; before++)
      if (chain->slot[before] >= 0 && last_use[first_step + before] == s) slot_is_taken[chain->slot[before]] = 0;
  }
  return 0;
}

typedef struct {
  const Chain *chain;
  const ChainLoops *loops;
  const float *const *inputs;
  float *const *outputs;
  int64_t rows, columns, rows_of_a_task, last_columns;
  int failed;
  // Whether a step writes into an output at once: where no input lies in its memory.
  float *target[MOST_STEPS];
} Run;

static void run_row(const Run *run, int64_t row, float *scratch) {
  const Chain *chain = run->chain;
  int first_step = chain->inputs + chain->constants;
  int64_t begin = row * run->columns, count = row == run->rows - 1 ? run->last_columns : run->columns;
  const float *value[MOST_VALUES];
  float narrow[MOST_STEPS];
  for (int v = 0; v < chain->inputs; v++) {
    int64_t at = chain->spread[v] == SPREAD_FULL ? begin : chain->spread[v] == SPREAD_ROW ? row : 0;
    value[v] = run->inputs[v] + at;
  }
  for (int v = 0; v < chain->constants; v++) value[chain->inputs + v] = &chain->constant[v];
  for (int s = 0; s < chain->steps; s++) {
    const Step *step = &chain->step[s];
    const float *a = value[step->a];
    int v = first_step + s, is_wide = chain->is_wide[v];
    float *to = !is_wide ? &narrow[s] : run->target[s] ? run->target[s] + begin : scratch + chain->slot[s] * run->columns;
    int64_t length = is_wide ? count : 1;
    value[v] = to;
    if (step->operation >= CHAIN_UNARIES) *to = run->loops->reduce(step->operation, a, count);
    else if (step->operation >= CHAIN_BINARIES) run->loops->unary(step->operation, a, to, length);
    else {
      int wide_a = !is_wide || chain->is_wide[step->a], wide_b = !is_wide || chain->is_wide[step->b];
      run->loops->binary(step->operation, wide_a && wide_b ? 0 : wide_a ? 1 : 2, a, value[step->b], to, length);
    }
  }
  for (int o = 0; o < chain->outputs; o++) {
    int v = chain->result[o];
    if (!chain->is_wide[v]) run->outputs[o][row] = *value[v];
    else if (value[v] != run->outputs[o] + begin) memcpy(run->outputs[o] + begin, value[v], sizeof(float) * count);
  }
}

static void row_task(void *data, size_t index) {
  Run *run = data;
  float on_stack[FLOATS_ON_STACK], *scratch = on_stack, *made = 0;
  size_t wanted = (size_t)run->chain->slots * run->columns;
  if (wanted > FLOATS_ON_STACK) {
    made = malloc(sizeof(float) * wanted);
    if (!made) {
      run->failed = 1;
      return;
    }
    scratch = made;
  }
  int64_t first = index * run->rows_of_a_task, end = least(first + run->rows_of_a_task, run->rows);
  for (int64_t row = first; row < end; row++) run_row(run, row, scratch);
  free(made);
}

int run_chain(const Chain *chain, const float *const *inputs, float *const *outputs, ParallelFor parallel, void *context) {
  Run run = {chain, chain_loops(), inputs, outputs, chain->rows, chain->columns, 0, chain->columns, 0, {0}};
  if (chain->is_flat) {
    int64_t total = chain->rows * chain->columns;
    run.columns = least(PIECE, total);
    run.rows = (total + run.columns - 1) / run.columns;
    run.last_columns = total - (run.rows - 1) * run.columns;
  }
  int first_step = chain->inputs + chain->constants;
  for (int o = 0; o < chain->outputs; o++) {
    int s = chain->result[o] - first_step, is_free = chain->is_wide[chain->result[o]];
    for (int v = 0; v < chain->inputs; v++) is_free = is_free && inputs[v] != outputs[o];
    if (is_free) run.target[s] = outputs[o];
  }
  run.rows_of_a_task = ELEMENTS_OF_A_TASK / run.columns > 0 ? ELEMENTS_OF_A_TASK / run.columns : 1;
  parallel(context, row_task, (run.rows + run.rows_of_a_task - 1) / run.rows_of_a_task, &run);
  return run.failed;
}
