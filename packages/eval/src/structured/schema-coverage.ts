import { EvaluationError } from '../errors.js';
import { wilsonInterval } from '../statistics/proportion-intervals.js';
import { schemaErrors, validatorOf } from './json-schema-grader.js';

/** What became of one schema: what was written under it, or that whoever writes refused it. */
export interface SchemaOutcome {
  readonly schema: unknown;
  /** `null` where the schema was refused. */
  readonly completion: string | null;
}

/** A share of schemas. */
export interface SchemaShare {
  readonly value: number;
  /** Wilson's, 95 %. */
  readonly interval: readonly [low: number, high: number];
}

/** What a constrained decoder covers. */
export interface SchemaCoverage {
  /** Schemas that it accepted, of all. */
  readonly declared: SchemaShare;
  /** Schemas whose output is valid, of all. */
  readonly empirical: SchemaShare;
  /** Valid ones of those it accepted; `null` where it accepted none. */
  readonly compliance: SchemaShare | null;
}

/**
 * Coverage and compliance of structured output (JSONSchemaBench, arXiv 2501.10868 §4.2):
 *
 *   declared = accepted / all,  empirical = valid / all,  compliance = empirical / declared
 *
 * @throws EvaluationError `EMPTY` for no outcome, `BAD_ROW` for what is no schema
 */
export function schemaCoverage(outcomes: readonly SchemaOutcome[]): SchemaCoverage {
  if (outcomes.length === 0) throw new EvaluationError('EMPTY', 'schemaCoverage: there are no outcomes.');
  const accepted = outcomes.filter(({ completion }) => completion !== null).length;
  const valid = outcomes.filter(({ schema, completion }, i) => {
    const validator = validatorOf(schema, `schemaCoverage: schema ${i}`);
    if (completion === null) return false;
    try {
      return schemaErrors(validator, JSON.parse(completion)).length === 0;
    } catch (error) {
      if (error instanceof SyntaxError) return false;
      throw error;
    }
  }).length;
  const share = (count: number, of: number): SchemaShare => ({
    value: count / of,
    interval: wilsonInterval(count, of),
  });
  return {
    declared: share(accepted, outcomes.length),
    empirical: share(valid, outcomes.length),
    compliance: accepted === 0 ? null : share(valid, accepted),
  };
}
