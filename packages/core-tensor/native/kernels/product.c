// The blocks of a product, the same for every arithmetic.
#include "product.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

// Cache blocking. The sum over k is cut into equal parts of at most WORDS_OF_A_BLOCK, so that a panel of each side stays near;
// where it is cut depends on k alone, so that a row of the result is the same whatever rows are computed beside it.
enum { WORDS_OF_A_BLOCK = 1024, ROWS_OF_A_TASK = 112, COLUMNS_OF_A_TASK = 384 };
// A right side up to this many words is packed at once; a larger one column block by column block.
enum { MOST_PACKED_WORDS = 1 << 22 };
// Packing: panels of a task, and words of each at a time where a step of all is a line of memory.
enum { PANELS_OF_A_PACK_TASK = 4, WORDS_ACROSS = 32 };
// A product up to this many multiplications is one task, packing included.
static const double SMALL_PRODUCT = 1 << 22;

enum { HUGE_PAGE = 1 << 21 };

static void *allocate_aligned(size_t bytes) {
#ifdef _WIN32
  return _aligned_malloc(bytes, 64);
#else
  void *memory = 0;
  if (posix_memalign(&memory, bytes < HUGE_PAGE ? 64 : HUGE_PAGE, bytes)) return 0;
#ifdef MADV_HUGEPAGE
  // Translations: a tile walks through panels that are megabytes apart.
  if (bytes >= HUGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
#endif
}

static void free_aligned(void *memory) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  free(memory);
#endif
}

// Scratch memory, kept from call to call: touching new pages costs more than packing into them. As many pieces as sessions
// that multiply at the same time; what more of them need is theirs alone, and goes with the call.
enum { PIECES = 8 };
static Scratch pieces[PIECES];
static atomic_flag lock = ATOMIC_FLAG_INIT;

static Scratch *scratch_of_one_call(size_t bytes) {
  Scratch *own = calloc(1, sizeof *own);
  if (own) own->memory = allocate_aligned(bytes);
  if (own && own->memory) return own;
  free(own);
  return 0;
}

Scratch *take_scratch(size_t bytes) {
  Scratch *best = 0;
  while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
  }
  for (int i = 0; i < PIECES; i++) {
    Scratch *piece = &pieces[i];
    if (piece->is_taken) continue;
    // The largest that is free: so that few pieces grow, and not all of them.
    if (!best || piece->bytes > best->bytes) best = piece;
  }
  if (best) best->is_taken = 1;
  atomic_flag_clear_explicit(&lock, memory_order_release);
  if (!best) return scratch_of_one_call(bytes);
  if (best->bytes >= bytes) return best;
  free_aligned(best->memory);
  best->memory = allocate_aligned(bytes);
  best->bytes = best->memory ? bytes : 0;
  if (best->memory) return best;
  best->is_taken = 0;
  return 0;
}

void give_back(Scratch *piece) {
  if (piece < pieces || piece >= pieces + PIECES) {
    free_aligned(piece->memory);
    free(piece);
    return;
  }
  while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
  }
  piece->is_taken = 0;
  atomic_flag_clear_explicit(&lock, memory_order_release);
}

typedef struct {
  const Arithmetic *how;
  const Product *what;
  int64_t k_blocks, words_of_block;  // of the sum over k; the last block may be shorter
  int64_t a_panels, b_panels;
  int64_t row_tasks, column_tasks, panels_of_a_task, panels_of_a_column_task;
  uint32_t *packed_a, *packed_b;
  size_t words_of_item;
  // What is packed now: of which matrix of the batch, which steps of the sum, and which panels of the right side.
  int64_t item, block, first_step, steps, words;
  int64_t first_panel, panels;
} Plan;

static Side side_a(const Plan *plan) {
  const Product *p = plan->what;
  const float *data = p->a + (p->a_offsets ? p->a_offsets[plan->item] : 0);
  Side side = {data, p->transpose_a ? 1 : p->k, p->transpose_a ? p->m : 1, p->alpha};
  side.data += plan->first_step * side.k_stride;
  return side;
}

static Side side_b(const Plan *plan) {
  const Product *p = plan->what;
  const float *data = p->b + (p->b_offsets ? p->b_offsets[plan->item] : 0);
  Side side = {data, p->transpose_b ? p->k : 1, p->transpose_b ? 1 : p->n, 1.0f};
  side.data += plan->first_step * side.k_stride;
  return side;
}

static void begin_block(Plan *plan, int64_t block) {
  int64_t steps = plan->words_of_block * plan->how->steps_per_word;
  plan->block = block;
  plan->first_step = block * steps;
  plan->steps = least(steps, plan->what->k - plan->first_step);
  plan->words = rounded_up((plan->steps + plan->how->steps_per_word - 1) / plan->how->steps_per_word, plan->how->word_multiple);
}

// Panels [first, last) of a side with so many lines, one after the other. Where lines are neighbours in memory, some steps of each
// panel at a time, so that a row of the matrix, which is a page of its own, is looked up once for all of them.
static void pack_panels(const Plan *plan, Side side, PackPanel pack, int goes_across, int64_t first, int64_t last, int64_t width, int64_t lines,
                        uint32_t *to) {
  const int64_t at_once = goes_across ? WORDS_ACROSS * plan->how->steps_per_word : plan->steps;
  const float *data = side.data + first * width * side.line_stride;
  for (int64_t step = 0; step < plan->steps; step += at_once) {
    side.data = data + step * side.k_stride;
    uint32_t *part = to + step / plan->how->steps_per_word * width;
    for (int64_t panel = first; panel < last; panel++, side.data += width * side.line_stride, part += plan->words * width)
      pack(&side, least(width, lines - panel * width), width, least(at_once, plan->steps - step), part);
  }
}

static void pack_a_panels(const Plan *plan, int64_t first, int64_t last) {
  const Arithmetic *how = plan->how;
  int goes_across = plan->what->transpose_a && !how->left_is_rows;
  pack_panels(plan, side_a(plan), how->pack_a, goes_across, first, last, how->rows, plan->what->m,
              plan->packed_a + first * how->rows * plan->words);
}

static void pack_b_panels(const Plan *plan, int64_t first, int64_t last) {
  const Arithmetic *how = plan->how;
  pack_panels(plan, side_b(plan), how->pack_b, !plan->what->transpose_b, first, last, how->columns, plan->what->n,
              plan->packed_b + (first - plan->first_panel) * how->columns * plan->words);
}

// The tiles of some panels of each side.
static void multiply_panels(const Plan *plan, int64_t a0, int64_t a1, int64_t b0, int64_t b1) {
  const Arithmetic *how = plan->how;
  const Product *p = plan->what;
  const size_t matrix = (size_t)p->m * p->n * plan->item;
  const int64_t words = plan->words;
  TileWork work = {0};
  work.words = words;
  work.stride = p->n;
  for (int64_t b = b0; b < b1; b++) {
    const uint32_t *right = plan->packed_b + (size_t)(b - plan->first_panel) * words * how->columns;
    int64_t column = b * how->columns;
    work.n = least(how->columns, p->n - column);
    for (int64_t a = a0; a < a1; a++) {
      const uint32_t *left = plan->packed_a + (size_t)a * words * how->rows;
      int64_t row = a * how->rows;
      size_t at = matrix + (size_t)row * p->n + column;
      work.a_panel = left;
      work.b_panel = right;
      work.src = plan->block > 0 ? p->y + at : p->addend ? p->addend + at : 0;
      work.dst = p->y + at;
      work.m = least(how->rows, p->m - row);
      // Prefetch: the first panels of the right side bring the left ones in; each brings its successor in.
      int64_t lines_before = (a - a0) * words, lines = words * how->columns / 16;
      work.soon[0] = (const char *)(b == b0 && a + 1 < a1 ? left + words * how->rows : left);
      work.soon[1] = (const char *)(b + 1 < b1 && lines_before < lines ? right + words * how->columns + lines_before * 16 : left);
      how->tile(&work);
    }
  }
}

static int64_t pack_tasks_of(int64_t panels) { return (panels + PANELS_OF_A_PACK_TASK - 1) / PANELS_OF_A_PACK_TASK; }

static void pack_task(void *data, size_t index) {
  const Plan *plan = data;
  int64_t of_a = plan->first_panel == 0 ? pack_tasks_of(plan->a_panels) : 0, task = index;
  if (task < of_a) {
    pack_a_panels(plan, task * PANELS_OF_A_PACK_TASK, least((task + 1) * PANELS_OF_A_PACK_TASK, plan->a_panels));
    return;
  }
  int64_t first = (task - of_a) * PANELS_OF_A_PACK_TASK;
  pack_b_panels(plan, plan->first_panel + first, plan->first_panel + least(first + PANELS_OF_A_PACK_TASK, plan->panels));
}

static void tile_task(void *data, size_t index) {
  const Plan *plan = data;
  int64_t a0 = index % plan->row_tasks * plan->panels_of_a_task;
  int64_t b0 = plan->first_panel + index / plan->row_tasks * plan->panels_of_a_column_task;
  multiply_panels(plan, a0, least(a0 + plan->panels_of_a_task, plan->a_panels), b0,
                  least(b0 + plan->panels_of_a_column_task, plan->first_panel + plan->panels));
}

// One matrix of a batch of small ones.
static void item_task(void *data, size_t index) {
  Plan plan = *(const Plan *)data;
  plan.item = index;
  plan.packed_a += index * plan.words_of_item;
  plan.packed_b += index * plan.words_of_item;
  for (int64_t block = 0; block < plan.k_blocks; block++) {
    begin_block(&plan, block);
    pack_a_panels(&plan, 0, plan.a_panels);
    pack_b_panels(&plan, 0, plan.b_panels);
    multiply_panels(&plan, 0, plan.a_panels, 0, plan.b_panels);
  }
}

// Memory for `words` of packed panels on each side; null where there is none.
static Scratch *scratch_for(Plan *plan, size_t words_of_a, size_t words_of_b, int64_t items) {
  // What packs a panel may write a vector more than it is wide.
  const size_t slack = 64, room_of_a = rounded_up(words_of_a + slack, 16);
  // A multiple of a cache line, so that no two tasks write into one.
  plan->words_of_item = rounded_up(room_of_a + words_of_b + slack, 16);
  Scratch *scratch = take_scratch(4 * plan->words_of_item * items);
  if (!scratch) return 0;
  plan->packed_a = scratch->memory;
  plan->packed_b = plan->packed_a + room_of_a;
  return scratch;
}

int multiply(const Arithmetic *how, const Product *p, ParallelFor parallel, void *context) {
  Plan plan = {0};
  plan.how = how;
  plan.what = p;
  int64_t words = (p->k + how->steps_per_word - 1) / how->steps_per_word;
  plan.k_blocks = (words + WORDS_OF_A_BLOCK - 1) / WORDS_OF_A_BLOCK;
  plan.words_of_block = rounded_up((words + plan.k_blocks - 1) / plan.k_blocks, how->word_multiple);
  plan.k_blocks = (words + plan.words_of_block - 1) / plan.words_of_block;
  plan.a_panels = (p->m + how->rows - 1) / how->rows;
  plan.b_panels = (p->n + how->columns - 1) / how->columns;
  const size_t words_of_a = plan.a_panels * how->rows * plan.words_of_block, words_of_b_panel = how->columns * plan.words_of_block;
  if ((double)p->m * p->n * p->k <= SMALL_PRODUCT) {
    Scratch *scratch = scratch_for(&plan, words_of_a, plan.b_panels * words_of_b_panel, p->batch);
    if (!scratch) return 1;
    if (p->batch == 1) item_task(&plan, 0);
    else parallel(context, item_task, p->batch, &plan);
    give_back(scratch);
    return 0;
  }
  int64_t panels_at_once = MOST_PACKED_WORDS / (int64_t)words_of_b_panel;
  if (panels_at_once < 1) panels_at_once = 1;
  if (panels_at_once > plan.b_panels) panels_at_once = plan.b_panels;
  Scratch *scratch = scratch_for(&plan, words_of_a, panels_at_once * words_of_b_panel, 1);
  if (!scratch) return 1;
  plan.panels_of_a_task = ROWS_OF_A_TASK / how->rows > 0 ? ROWS_OF_A_TASK / how->rows : 1;
  plan.panels_of_a_column_task = COLUMNS_OF_A_TASK / how->columns;
  plan.row_tasks = (plan.a_panels + plan.panels_of_a_task - 1) / plan.panels_of_a_task;
  for (plan.item = 0; plan.item < p->batch; plan.item++)
    for (int64_t block = 0; block < plan.k_blocks; block++) {
      begin_block(&plan, block);
      for (plan.first_panel = 0; plan.first_panel < plan.b_panels; plan.first_panel += panels_at_once) {
        plan.panels = least(panels_at_once, plan.b_panels - plan.first_panel);
        plan.column_tasks = (plan.panels + plan.panels_of_a_column_task - 1) / plan.panels_of_a_column_task;
        parallel(context, pack_task, (plan.first_panel == 0 ? pack_tasks_of(plan.a_panels) : 0) + pack_tasks_of(plan.panels), &plan);
        parallel(context, tile_task, plan.row_tasks * plan.column_tasks, &plan);
      }
    }
  give_back(scratch);
  return 0;
}
