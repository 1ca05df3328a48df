import { isDeeperThan } from '@posttrain/interfaces';
import { EvaluationError } from '../errors.js';

/** Logs nest by a few dozen; what nests by thousands would overflow the stack of whoever walks it. */
const DEEPEST = 200;

/** @throws EvaluationError `LOG_MALFORMED` */
export function assertDepth(value: unknown, where: string): void {
  if (isDeeperThan(value, DEEPEST))
    throw new EvaluationError('LOG_MALFORMED', `${where} is nested more than ${DEEPEST} deep, which no log is.`);
}
