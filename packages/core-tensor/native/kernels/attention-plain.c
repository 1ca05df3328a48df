// The loops of attention for any processor.
#define FOR
#define LOOPS attention_loops_plain
#include "attention-loops.h"
