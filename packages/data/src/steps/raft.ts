import {
  custom,
  type Embedder,
  type Given,
  integer,
  number,
  oneOf,
  options,
  text as textOption,
} from '@posttrain/interfaces';
import { innerProduct, normalized } from '../dedup/spherical-k-means.js';
import { DataStepError, RowError } from '../errors.js';
import { ownValue, type Row } from '../rows.js';
import type { DataStep } from '../step.js';
import { assertDistinct } from './minhash-deduplicate.js';

const raftOptions = options('raft', {
  /** P: the part of the rows whose documents have the oracle among them. Default 0.8. */
  oracleFraction: number({ default: 0.8, min: 0, max: 1 }),
  /** k: documents beside the oracle, or one more in its place. Default 4. */
  distractors: integer({ default: 4, min: 0 }),
  /** Column of the question. Default `question`. */
  question: textOption({ default: 'question' }),
  /** Column of the document that answers it. Default `context`. */
  oracle: textOption({ default: 'context' }),
  /** Column of the answer, with its reasoning where it has one. Default `answer`. */
  answer: textOption({ default: 'answer' }),
  /** How a prompt is written: `numbered` as below, `tags` as the authors' code does. Default `numbered`. */
  format: oneOf(['numbered', 'tags'], { default: 'numbered' }),
  /** Distractors are the documents that are nearest to the question. Default: drawn at random. */
  embedder: custom<Embedder>()(
    'an Embedder: an object with a name and embed(texts)',
    (value) => typeof (value as Partial<Embedder> | null)?.embed === 'function',
    { optional: true, settings: (embedder) => embedder?.name ?? '' },
  ),
});
/** Options of `raft`. */
export type RaftOptions = Given<typeof raftOptions>;

/** A row for supervised fine-tuning over documents. */
export interface RaftRow {
  readonly prompt: string;
  readonly completion: string;
  /** The documents of the prompt, and which of them is the oracle; -1 where it is not there. */
  readonly documents: readonly string[];
  readonly oracleIndex: number;
}

/** What `raft` has learnt of all rows: their documents, which rows have their oracle, and with an embedder which are near. */
export interface RaftPlan {
  readonly documents: readonly string[];
  /** Ids of the rows that have their oracle. */
  readonly withOracle: ReadonlySet<string>;
  /** By the row's id: documents that are not its own, nearest first. */
  readonly nearest?: ReadonlyMap<string, readonly number[]>;
}

/**
 * RAFT, retrieval-augmented fine-tuning (arXiv 2403.10131 §3): each question comes with documents, in P of the rows its own (the oracle)
 * among k distractors, in the others k + 1 distractors alone, and is to be answered as the row says. So a model learns to read what
 * answers, to leave aside what does not, and to know. Exactly round(P · rows) have their oracle. Documents are those of all rows, without
 * repetitions, which are in memory; distractors are drawn from the others, or are the nearest by the embedder. The prompt is
 *
 *   numbered:  Document 1: … ⏎ Document 2: … ⏎ ⏎ Question: … ⏎ Answer:
 *   tags:      <DOCUMENT>…</DOCUMENT> ⏎ <DOCUMENT>…</DOCUMENT> ⏎ question
 *
 * The authors' code draws for each row by itself whether its oracle stands among its documents, so that their part is P on the average only,
 * and what takes an oracle's place may be a distractor that is there already; here it is another.
 *
 * @throws OptionError; RowError for a row without one of its texts; DataStepError where there are too few documents
 */
export function raft(given: RaftOptions = {}): DataStep<Row, RaftRow, RaftPlan> {
  const { oracleFraction, distractors, question, oracle, answer, format, embedder } = raftOptions.read(given);
  const name = 'raft';
  const textsOf = (row: Row, rowNumber: number) => {
    const [asked, document, answered] = [question, oracle, answer].map((column) => {
      const value = ownValue(row, column);
      if (typeof value === 'string' && value.trim() !== '') return value;
      throw new RowError(rowNumber, column, 'must be a text that is not empty.');
    });
    return { asked: asked!, document: document!, answered: answered! };
  };
  return {
    name,
    version: JSON.stringify(raftOptions.settings(given)),
    async plan(rows, context) {
      const places = new Map<string, number>();
      const [own, questions, ids]: [number[], string[], string[]] = [[], [], []];
      for await (const row of rows) {
        const { asked, document } = textsOf(row, own.length + 1);
        if (!places.has(document)) places.set(document, places.size);
        own.push(places.get(document)!);
        questions.push(asked);
        ids.push(context.keyOf(row).id);
      }
      assertDistinct(name, ids);
      const documents = [...places.keys()];
      if (own.length > 0 && documents.length < distractors + 2) {
        const problem = `there are ${documents.length} different documents, and ${distractors + 1} distractors are asked for beside each row's own.`;
        throw new DataStepError(name, own.length, problem);
      }
      const order = context.random('oracle').shuffled(ids);
      const withOracle = new Set(order.slice(0, Math.round(oracleFraction * ids.length)));
      if (!embedder) return { documents, withOracle };
      const unit = async (texts: readonly string[]) =>
        (await embedder.embed(texts)).map((vector) => normalized(Float32Array.from(vector)));
      const [ofDocuments, ofQuestions] = [await unit(documents), await unit(questions)];
      const nearest = ofQuestions.map((vector, row) => {
        const others = ofDocuments.map((other, i) => ({ i, near: innerProduct(vector, other) }));
        const sorted = others.filter(({ i }) => i !== own[row]).sort((a, b) => b.near - a.near || a.i - b.i);
        return [ids[row]!, sorted.slice(0, distractors + 1).map(({ i }) => i)] as const;
      });
      return { documents, withOracle, nearest: new Map(nearest) };
    },
    async *apply(rows, context, { documents, withOracle, nearest }) {
      let rowNumber = 0;
      for await (const row of rows) {
        const { id } = context.keyOf(row);
        const { asked, document, answered } = textsOf(row, ++rowNumber);
        const random = context.random(id);
        const hasOracle = withOracle.has(id);
        const count = hasOracle ? distractors : distractors + 1;
        const others = nearest?.get(id)?.map((i) => documents[i]!) ?? drawn(random, documents, document, count);
        const shown = random.shuffled([...others.slice(0, count), ...(hasOracle ? [document] : [])]);
        const tagged = format === 'tags';
        const listed = shown
          .map((text, i) => (tagged ? `<DOCUMENT>${text}</DOCUMENT>\n` : `Document ${i + 1}: ${text}\n`))
          .join('');
        const made: RaftRow = {
          prompt: tagged ? `${listed}${asked}` : `${listed}\nQuestion: ${asked}\nAnswer:`,
          completion: tagged ? answered : ` ${answered.trimStart()}`,
          ...{ documents: shown, oracleIndex: shown.indexOf(document) },
        };
        yield context.derive(made, row);
      }
    },
  };
}

/** Different documents that are none of `not`. */
function drawn(
  random: { integer(min: number, max: number): number },
  documents: readonly string[],
  not: string,
  count: number,
): string[] {
  const found = new Set<string>();
  while (found.size < count) {
    const one = documents[random.integer(0, documents.length - 1)]!;
    if (one !== not) found.add(one);
  }
  return [...found];
}
