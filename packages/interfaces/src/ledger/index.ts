/** What a run may spend, kept exactly at any concurrency: reserve an upper bound, spend, settle. */
export { COST_KINDS, type Cost, type CostKind, type LedgerLimit, type LedgerLimits } from './cost.js';
export { isLimit, Ledger, LedgerError, type LedgerOptions, type Reservation, type ReservedNodes } from './ledger.js';
