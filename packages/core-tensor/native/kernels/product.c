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
  long k_blocks, words_of_block;  // of the sum over k; the last block may be shorter
  long a_panels, b_panels;
  long first_panel, panels;  // of the right side, that are packed now
  long row_tasks, column_tasks, panels_of_a_task, panels_of_a_column_task;
  uint32_t *packed_a, *packed_b;
  long item;  // of the batch
  size_t words_of_item;
} Plan;

static Side side_a(const Product *p, long item) {
  const float *data = p->a + (p->a_offsets ? p->a_offsets[item] : 0);
  Side side = {data, p->transpose_a ? 1 : p->k, p->transpose_a ? p->m : 1, p->alpha};
  return side;
}

static Side side_b(const Product *p, long item) {
  const float *data = p->b + (p->b_offsets ? p->b_offsets[item] : 0);
  Side side = {data, p->transpose_b ? p->k : 1, p->transpose_b ? 1 : p->n, 1.0f};
  return side;
}

static long steps_of_block(const Plan *plan, long block, long *first) {
  long steps = plan->words_of_block * plan->how->steps_per_word;
  *first = block * steps;
  return least(steps, plan->what->k - *first);
}

static long padded_words(const Arithmetic *how, long steps) {
  return rounded_up((steps + how->steps_per_word - 1) / how->steps_per_word, how->word_multiple);
}

// The words of one line in all blocks of k, padding included.
static long words_of_line(const Plan *plan) {
  long total = 0, first;
  for (long block = 0; block < plan->k_blocks; block++) total += padded_words(plan->how, steps_of_block(plan, block, &first));
  return total;
}

// One panel in all blocks of k, one block behind the other.
static void pack_panel(const Plan *plan, Side side, PackPanel pack, long panel, long width, long lines, uint32_t *to) {
  const float *data = side.data + panel * width * side.line_stride;
  for (long block = 0; block < plan->k_blocks; block++) {
    long first, steps = steps_of_block(plan, block, &first);
    side.data = data + first * side.k_stride;
    pack(&side, lines, width, steps, to);
    to += padded_words(plan->how, steps) * width;
  }
}

static void pack_a_panel(const Plan *plan, long panel) {
  int rows = plan->how->rows;
  uint32_t *to = plan->packed_a + (size_t)panel * rows * words_of_line(plan);
  pack_panel(plan, side_a(plan->what, plan->item), plan->how->pack_a, panel, rows, least(rows, plan->what->m - panel * rows), to);
}

static void pack_b_panel(const Plan *plan, long panel) {
  int columns = plan->how->columns;
  uint32_t *to = plan->packed_b + (size_t)(panel - plan->first_panel) * columns * words_of_line(plan);
  long lines = least(columns, plan->what->n - panel * columns);
  pack_panel(plan, side_b(plan->what, plan->item), plan->how->pack_b, panel, columns, lines, to);
}

// The tiles of some panels of each side.
static void multiply_panels(const Plan *plan, long a0, long a1, long b0, long b1) {
  const Arithmetic *how = plan->how;
  const Product *p = plan->what;
  size_t line = words_of_line(plan), matrix = (size_t)p->m * p->n * plan->item, offset = 0;
  for (long block = 0; block < plan->k_blocks; block++) {
    long first, words = padded_words(how, steps_of_block(plan, block, &first));
    TileWork work = {0};
    work.words = words;
    work.stride = p->n;
    for (long b = b0; b < b1; b++) {
      const uint32_t *right = plan->packed_b + ((b - plan->first_panel) * line + offset) * how->columns;
      long column = b * how->columns, n = least(how->columns, p->n - column);
      for (long a = a0; a < a1; a++) {
        const uint32_t *left = plan->packed_a + (a * line + offset) * how->rows;
        long row = a * how->rows, m = least(how->rows, p->m - row);
        size_t at = matrix + (size_t)row * p->n + column;
        work.a_panel = left;
        work.b_panel = right;
        work.src = block > 0 ? p->y + at : p->addend ? p->addend + at : 0;
        work.dst = p->y + at;
        work.m = m;
        work.n = n;
        // Prefetch: the first panels of the right side bring the left ones in; each brings its successor in.
        long lines_before = (a - a0) * words, lines = words * how->columns / 16;
        work.soon[0] = (const char *)(b == b0 && a + 1 < a1 ? left + line * how->rows : left);
        work.soon[1] = (const char *)(b + 1 < b1 && lines_before < lines ? right + line * how->columns + lines_before * 16 : left);
        how->tile(&work);
      }
    }
    offset += words;
  }
}

static void pack_task(void *data, size_t index) {
  const Plan *plan = data;
  long all_of_a = plan->first_panel == 0 ? plan->a_panels : 0;
  if ((long)index < all_of_a) pack_a_panel(plan, index);
  else pack_b_panel(plan, plan->first_panel + index - all_of_a);
}

static void tile_task(void *data, size_t index) {
  const Plan *plan = data;
  long a0 = index % plan->row_tasks * plan->panels_of_a_task;
  long b0 = plan->first_panel + index / plan->row_tasks * plan->panels_of_a_column_task;
  multiply_panels(plan, a0, least(a0 + plan->panels_of_a_task, plan->a_panels), b0,
                  least(b0 + plan->panels_of_a_column_task, plan->first_panel + plan->panels));
}

// One matrix of a batch of small ones.
static void item_task(void *data, size_t index) {
  Plan plan = *(const Plan *)data;
  plan.item = index;
  plan.packed_a += index * plan.words_of_item;
  plan.packed_b += index * plan.words_of_item;
  for (long panel = 0; panel < plan.a_panels; panel++) pack_a_panel(&plan, panel);
  for (long panel = 0; panel < plan.b_panels; panel++) pack_b_panel(&plan, panel);
  multiply_panels(&plan, 0, plan.a_panels, 0, plan.b_panels);
}

int multiply(const Arithmetic *how, const Product *p, ParallelFor parallel, void *context) {
  Plan plan = {0};
  plan.how = how;
  plan.what = p;
  long words = (p->k + how->steps_per_word - 1) / how->steps_per_word;
  plan.k_blocks = (words + WORDS_OF_A_BLOCK - 1) / WORDS_OF_A_BLOCK;
  plan.words_of_block = rounded_up((words + plan.k_blocks - 1) / plan.k_blocks, how->word_multiple);
  plan.k_blocks = (words + plan.words_of_block - 1) / plan.words_of_block;
  plan.a_panels = (p->m + how->rows - 1) / how->rows;
  plan.b_panels = (p->n + how->columns - 1) / how->columns;
  size_t line = words_of_line(&plan), words_of_a = plan.a_panels * how->rows * line;
  // What packs a panel may write a vector more than it is wide.
  size_t slack = 64;
  int is_small = (double)p->m * p->n * p->k <= SMALL_PRODUCT;
  size_t room_of_a = rounded_up(words_of_a + slack, 16);
  if (is_small) {
    // A multiple of a cache line, so that no two tasks write into one.
    plan.words_of_item = rounded_up(room_of_a + plan.b_panels * how->columns * line + slack, 16);
    Scratch *scratch = take_scratch(4 * plan.words_of_item * p->batch);
    if (!scratch) return 1;
    plan.packed_a = scratch->memory;
    plan.packed_b = plan.packed_a + room_of_a;
    plan.panels = plan.b_panels;
    if (p->batch == 1) item_task(&plan, 0);
    else parallel(context, item_task, p->batch, &plan);
    give_back(scratch);
    return 0;
  }
  long panels_at_once = MOST_PACKED_WORDS / (long)(line * how->columns);
  if (panels_at_once < 1) panels_at_once = 1;
  if (panels_at_once > plan.b_panels) panels_at_once = plan.b_panels;
  Scratch *scratch = take_scratch(4 * (room_of_a + panels_at_once * how->columns * line + slack));
  if (!scratch) return 1;
  plan.packed_a = scratch->memory;
  plan.packed_b = plan.packed_a + room_of_a;
  plan.panels_of_a_task = ROWS_OF_A_TASK / how->rows > 0 ? ROWS_OF_A_TASK / how->rows : 1;
  plan.panels_of_a_column_task = COLUMNS_OF_A_TASK / how->columns;
  plan.row_tasks = (plan.a_panels + plan.panels_of_a_task - 1) / plan.panels_of_a_task;
  for (plan.item = 0; plan.item < p->batch; plan.item++) {
    for (plan.first_panel = 0; plan.first_panel < plan.b_panels; plan.first_panel += panels_at_once) {
      plan.panels = least(panels_at_once, plan.b_panels - plan.first_panel);
      plan.column_tasks = (plan.panels + plan.panels_of_a_column_task - 1) / plan.panels_of_a_column_task;
      parallel(context, pack_task, (plan.first_panel == 0 ? plan.a_panels : 0) + plan.panels, &plan);
      parallel(context, tile_task, plan.row_tasks * plan.column_tasks, &plan);
    }
  }
  give_back(scratch);
  return 0;
}
