// Chains of operations on elements: what reads and writes float32 tensors once instead of once for every operation. A chain works on
// rows of columns; a value in it is wide (a number for every column) or narrow (one for the row).
#ifndef POSTTRAIN_CHAIN_H
#define POSTTRAIN_CHAIN_H
#include "product.h"

// The operations, by the numbers that graphs have. A sum or maximum of a row is narrow.
enum {
  CHAIN_ADD,
  CHAIN_SUB,
  CHAIN_MUL,
  CHAIN_DIV,
  CHAIN_MAXIMUM,
  CHAIN_MINIMUM,
  CHAIN_BINARIES,
  CHAIN_NEG = CHAIN_BINARIES,
  CHAIN_EXP,
  CHAIN_LOG,
  CHAIN_SQRT,
  CHAIN_RECIPROCAL,
  CHAIN_SIGMOID,
  CHAIN_ABS,
  CHAIN_UNARIES,
  CHAIN_SUM = CHAIN_UNARIES,
  CHAIN_MAX,
  CHAIN_OPERATIONS
};

// How an input lies in the rows and columns.
enum { SPREAD_FULL, SPREAD_ROW, SPREAD_COLUMN, SPREAD_SINGLE };

enum { MOST_INPUTS = 12, MOST_OUTPUTS = 6, MOST_CONSTANTS = 16, MOST_STEPS = 48 };
enum { MOST_VALUES = MOST_INPUTS + MOST_CONSTANTS + MOST_STEPS };

// Values are numbered: inputs, then constants, then what the steps give. `b` is not read where one operand is enough.
typedef struct {
  int operation, a, b;
} Step;

typedef struct {
  int64_t rows, columns;
  int inputs, constants, steps, outputs;
  int spread[MOST_INPUTS];
  float constant[MOST_CONSTANTS];
  Step step[MOST_STEPS];
  int result[MOST_OUTPUTS];
  // Of `prepare_chain`: which values are wide, which piece of scratch memory a step writes to, and how many there are.
  char is_wide[MOST_VALUES];
  int slot[MOST_STEPS], slots;
  // Rows can be cut anywhere: no value is narrow but single ones, and no input repeats along them.
  int is_flat;
} Chain;

// 0, or 1 where a step reads what is not there yet, or an operation is unknown.
int prepare_chain(Chain *chain);
// Outputs may lie in the memory of full inputs. 0, or 1 where there was no memory.
int run_chain(const Chain *chain, const float *const *inputs, float *const *outputs, ParallelFor parallel, void *context);

// The loops of one instruction set. `kind`: 0, both operands are wide; 1, b is one number; 2, a is.
typedef struct {
  void (*binary)(int operation, int kind, const float *restrict a, const float *restrict b, float *restrict to, int64_t count);
  void (*unary)(int operation, const float *restrict a, float *restrict to, int64_t count);
  float (*reduce)(int operation, const float *a, int64_t count);
} ChainLoops;

// By what the processor has.
const ChainLoops *chain_loops(void);
#endif
