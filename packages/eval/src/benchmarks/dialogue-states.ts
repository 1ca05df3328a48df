import { EvaluationError } from '../errors.js';
import { type MeanEstimate, meanWithStandardError } from '../statistics/standard-error.js';

/** A dialogue of MultiWOZ in the form of TRADE's files (`train_dials.json`), which most trackers of states read. */
export interface MultiWozDialogue {
  readonly dialogue_idx: string;
  readonly dialogue: readonly {
    readonly turn_idx: number;
    /** What the system said before the user; empty in the first turn. */
    readonly system_transcript: string;
    readonly transcript: string;
    /** All that is wanted by now: pairs of a slot (`hotel-area`) and its value. */
    readonly belief_state: readonly { readonly slots: readonly (readonly [slot: string, value: string])[] }[];
  }[];
}

/** The state of a dialogue: values by slot. */
export type DialogueState = Readonly<Record<string, string>>;

/** A turn whose state is to be told. */
export interface DialogueTurn {
  readonly id: string;
  readonly dialogue: string;
  /** All that was said, the user's last words at the end, one speaker a line. */
  readonly history: string;
  readonly state: DialogueState;
}

/**
 * The turns of MultiWOZ's dialogues (arXiv 1810.00278), each with all that was said before it. Slots without a value (`none`) are no part of a state.
 * @throws EvaluationError `BAD_ROW`
 */
export function multiWozTurns(dialogues: readonly MultiWozDialogue[]): DialogueTurn[] {
  return dialogues.flatMap(({ dialogue_idx: name, dialogue: turns }, d) => {
    if (typeof name !== 'string' || !Array.isArray(turns))
      throw new EvaluationError(
        'BAD_ROW',
        `multiWozTurns: dialogue ${d} needs "dialogue_idx" and the list "dialogue".`,
      );
    const said: string[] = [];
    return turns.map((turn: MultiWozDialogue['dialogue'][number]) => {
      const { turn_idx: place, system_transcript: system, transcript: user, belief_state: belief } = turn;
      if (!Number.isInteger(place) || typeof user !== 'string' || !Array.isArray(belief))
        throw new EvaluationError(
          'BAD_ROW',
          `multiWozTurns: a turn of "${name}" needs "turn_idx", "transcript" and the list "belief_state".`,
        );
      if (system) said.push(`System: ${system}`);
      said.push(`User: ${user}`);
      const slots = belief.flatMap((one: { readonly slots: readonly (readonly [string, string])[] }) => one?.slots);
      if (!slots.every((pair) => Array.isArray(pair) && pair.length === 2 && pair.every(isText)))
        throw new EvaluationError(
          'BAD_ROW',
          `multiWozTurns: the belief states of turn ${place} of "${name}" need lists "slots" of pairs of texts.`,
        );
      const state = Object.fromEntries(slots.filter(([, value]) => value !== 'none'));
      return { id: `${name}:${place}`, dialogue: name, history: said.join('\n'), state };
    });
  });
}

const isText = (value: unknown): boolean => typeof value === 'string';

/** How well states are told, over turns; standard errors clustered by dialogue. */
export interface DialogueScores {
  /** Share of turns whose state is right as a whole. */
  readonly jointGoal: MeanEstimate;
  /** Mean over turns of F1 of pairs of slot and value; 1 where neither has any. */
  readonly slotF1: MeanEstimate;
  /** Mean over turns of the share of all slots that are right, those without a value included. */
  readonly slotAccuracy: MeanEstimate;
}

/**
 * Joint goal accuracy, slot F1 and slot accuracy as TRADE's script counts them (arXiv 1905.08743): values are equal as they are written, so normalise both
 * sides before, and predictions of `none` are none.
 *
 * @param slots how many slots there are: 30 for the five domains of TRADE
 * @throws EvaluationError `UNPAIRED`, `NO_RECORDS`
 */
export function dialogueScores(
  turns: readonly Pick<DialogueTurn, 'dialogue' | 'state'>[],
  predicted: readonly DialogueState[],
  slots = 30,
): DialogueScores {
  if (turns.length !== predicted.length)
    throw new EvaluationError('UNPAIRED', `dialogueScores: ${predicted.length} states for ${turns.length} turns.`);
  if (turns.length === 0) throw new EvaluationError('NO_RECORDS', 'dialogueScores: there are no turns.');
  const single = turns.map(({ state }, i) => {
    const gold = pairsOf(state);
    const said = pairsOf(predicted[i]!);
    const both = [...said].filter(([slot, value]) => gold.get(slot) === value).length;
    const isNone = gold.size + said.size === 0;
    // A slot that is wrong in both is one error, not two.
    const missed = [...gold].filter(([slot, value]) => said.get(slot) !== value).map(writtenSlot);
    const invented = [...said].filter(
      (one) => gold.get(one[0]) !== one[1] && !missed.includes(writtenSlot(one)),
    ).length;
    return {
      jointGoal: Number(gold.size === both && said.size === both),
      slotF1: isNone ? 1 : (2 * both) / (gold.size + said.size),
      slotAccuracy: (slots - missed.length - invented) / slots,
    };
  });
  const clusters = turns.map(({ dialogue }) => dialogue);
  const mean = (name: 'jointGoal' | 'slotF1' | 'slotAccuracy') =>
    meanWithStandardError(
      single.map((one) => one[name]),
      clusters,
    );
  return { jointGoal: mean('jointGoal'), slotF1: mean('slotF1'), slotAccuracy: mean('slotAccuracy') };
}

/** TRADE writes a pair with a hyphen and finds its slot before the last one, so that a value with a hyphen takes part of it along. */
const writtenSlot = ([slot, value]: readonly [string, string]): string => {
  const pair = `${slot}-${value}`;
  return pair.slice(0, pair.lastIndexOf('-'));
};

const pairsOf = (state: DialogueState): Map<string, string> =>
  new Map(Object.entries(state).filter(([, value]) => value !== 'none'));
