import { breadcrumbs, breadcrumbsTies } from './breadcrumbs.js';
import { dareLinear, dareTies } from './dare.js';
import { della, dellaLinear } from './della.js';
import { fisher } from './fisher.js';
import { karcher } from './karcher.js';
import { linear } from './linear.js';
import type { MergeMethod } from './merge-method.js';
import { modelStock } from './model-stock.js';
import { passthrough } from './passthrough.js';
import { regMean } from './regmean.js';
import { slerp } from './slerp.js';
import { taskArithmetic } from './task-arithmetic.js';
import { ties } from './ties.js';
import { warm } from './warm.js';

/** Ways to merge models, by mergekit's names where it has them. */
export const mergeMethods = {
  breadcrumbs,
  breadcrumbs_ties: breadcrumbsTies,
  dare_linear: dareLinear,
  dare_ties: dareTies,
  della,
  della_linear: dellaLinear,
  fisher,
  karcher,
  linear,
  model_stock: modelStock,
  passthrough,
  regmean: regMean,
  slerp,
  task_arithmetic: taskArithmetic,
  ties,
  warm,
} as const satisfies Record<string, MergeMethod>;
