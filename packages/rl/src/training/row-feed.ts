import { addSettings, type DecisiveSettings, settingsOf } from '@posttrain/interfaces';
import {
  collectRows,
  contentHash,
  isRowSource,
  RowOrder,
  type RowRequest,
  type Rows,
  rowsOfSource,
} from '@posttrain/training';
import type { PromptRow } from '../rewards/reward.js';
import { refuseUnscorable } from '../rewards/score-completions.js';
import type { RowSource } from '../rollout/row-source.js';
import type { PolicySettings } from './policy-options.js';
import { checkPrompts } from './prompts.js';

/** Of the keys of a round of sampling, prompts have those from 0 up; this one is that of the source of rows. */
const ROW_SOURCE = 2 ** 32 - 1;

/** Rows and the tokens of their prompts. */
export interface FedRows {
  readonly rows: readonly PromptRow[];
  readonly prompts: readonly (readonly number[])[];
}

/** Where the rows of every step come from. */
export interface RowFeed {
  /** What decides a run of it. */
  readonly identity: DecisiveSettings;
  /** Rows in an epoch; undefined where there are no epochs. */
  readonly size: number | undefined;
  /** @param cursor rows that were taken before */
  take(cursor: number, request: RowRequest): Promise<FedRows>;
}

/** The rows of a run, step by step: from a list, or from a source that is asked anew. @throws OptionError, PromptRowError */
export async function rowFeedOf(settings: PolicySettings): Promise<RowFeed> {
  if (isRowSource(settings.rows)) return fromSource(settings.rows as RowSource, settings);
  const { rows, identity } = await collectRows<PromptRow>('trainPolicy', settings.rows as Rows<PromptRow>, settings);
  refuseUnscorable('trainPolicy', settings.rewards, rows);
  // Of what the rows were before the first step.
  const prompts = checkPrompts(rows, settings);
  const order = new RowOrder(rows.length, settings.seed);
  return {
    // Of the tokenizer and the chat template.
    identity: { ...identity, prompts: contentHash(prompts) },
    size: rows.length,
    async take(cursor, { count }) {
      const chosen = Array.from({ length: count }, (_, i) => order.at(cursor + i));
      return { rows: chosen.map((i) => rows[i]!), prompts: chosen.map((i) => prompts[i]!) };
    },
  };
}

function fromSource(source: RowSource, settings: PolicySettings): RowFeed {
  const identity: Record<string, DecisiveSettings[string]> = {};
  addSettings(identity, 'rows', settingsOf(source));
  return {
    identity,
    size: undefined,
    async take(_, request) {
      const given = await rowsOfSource('trainPolicy', source, { ...request, key: request.key.child(ROW_SOURCE) });
      const rows = given.map(({ row }) => row);
      if (request.step === 0) refuseUnscorable('trainPolicy', settings.rewards, rows);
      // What is to be warned of is the same in every step.
      const prompts = checkPrompts(rows, request.step === 0 ? settings : { ...settings, onWarning: () => {} });
      return { rows, prompts: given.map(({ promptTokens }, i) => promptTokens ?? prompts[i]!) };
    },
  };
}
