import {
  boolean,
  type ChatMessage,
  custom,
  type Given,
  number,
  options,
  PosttrainError,
  text,
} from '@posttrain/interfaces';
import type { ScoredRollout } from '../rollout.js';
import type { PrivilegedPrompt } from './teacher-log-probs.js';

/** What an environment says of a rollout: a failing test, a message of a compiler; null: nothing. */
export type RolloutFeedback = (rollout: ScoredRollout) => string | null;

export const repromptShape = {
  /** The reward from which on a rollout is a solution that others are shown. Default 1, as in TRL. */
  successRewardThreshold: number({ default: 1 }),
  /** Show solutions of the group. Default true. */
  useSuccessfulAsTeacher: boolean({ default: true }),
  /** Never show a rollout itself. Default true. */
  dontRepromptOnSelfSuccess: boolean({ default: true }),
  /** Leave `<think>…</think>` out of what is shown. Default false. */
  removeThinkingFromDemonstration: boolean({ default: false }),
  /** What is said of a rollout beside solutions. Default: nothing. */
  feedback: custom<RolloutFeedback>()('a function of a rollout', (value) => typeof value === 'function', {
    optional: true,
    settings: String,
  }),
  /** Show feedback only where there is no solution to show. Default false. */
  feedbackOnlyWithoutSolution: boolean({ default: false }),
  /** What the teacher reads in the place of the prompt, or of its last message. `{prompt}`, `{solution}` and `{feedback}` are filled in. */
  repromptTemplate: text({ default: '{prompt}{solution}{feedback}\n\nCorrectly solve the original question.\n' }),
  /** `{successful_previous_attempt}` is filled in. */
  solutionTemplate: text({ default: '\nCorrect solution:\n\n{successful_previous_attempt}\n\n' }),
  /** `{feedback_raw}` is filled in. */
  feedbackTemplate: text({
    default: '\nThe following is feedback from your unsuccessful earlier attempt:\n\n{feedback_raw}\n\n',
  }),
};
const repromptOptions = options('successfulRollout', repromptShape);
/** Options of `successfulRollout`. */
export type SuccessfulRolloutOptions = Given<typeof repromptOptions>;

const THINKING = /<think>.*?<\/think>/gs;

/** Every `{name}` of a template at once, so that what is filled in is not looked at again. */
const filled = (template: string, values: Readonly<Record<string, string>>): string =>
  template.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);

/**
 * What the teacher of SDPO (self-distillation policy optimisation, arXiv 2601.20802) is shown: the prompt, with the first of the group's rollouts that
 * solved it and what the environment says of this one. A rollout of which there is neither teaches nothing. A privileged prompt for `opsd` and
 * `sdft`; templates and rules are those of TRL's SDPOTrainer.
 *
 * @throws OptionError; in a run PosttrainError SDPO for a conversation that does not end with the user
 */
export function successfulRollout(given: SuccessfulRolloutOptions = {}): PrivilegedPrompt {
  const settings = repromptOptions.read(given);
  const { feedback, repromptTemplate, solutionTemplate, feedbackTemplate, removeThinkingFromDemonstration } = settings;
  const privileged: PrivilegedPrompt = ({ prompt }, { rollout, group }) => {
    const solution = settings.useSuccessfulAsTeacher
      ? group.find(
          (other) =>
            other.reward !== null &&
            other.reward >= settings.successRewardThreshold &&
            !(settings.dontRepromptOnSelfSuccess && other === rollout),
        )
      : undefined;
    const said = feedback?.(rollout)?.trim() ? feedback(rollout)! : undefined;
    const isSaid = said !== undefined && !(settings.feedbackOnlyWithoutSolution && solution);
    if (!solution && !isSaid) return undefined;
    const shown = removeThinkingFromDemonstration ? solution?.text.replace(THINKING, '').trim() : solution?.text;
    const parts = {
      solution: solution ? filled(solutionTemplate, { successful_previous_attempt: shown! }) : '',
      feedback: isSaid ? filled(feedbackTemplate, { feedback_raw: said }) : '',
    };
    if (typeof prompt === 'string') return filled(repromptTemplate, { prompt, ...parts });
    const last = prompt.at(-1);
    if (last?.role !== 'user' || typeof last.content !== 'string') {
      const problem = `the conversation ends with ${last ? `the ${last.role}` : 'nothing'}, and not with a text of the user`;
      throw new PosttrainError('SDPO', `successfulRollout: ${problem}, which the teacher is to be told more beside`);
    }
    const message: ChatMessage = { ...last, content: filled(repromptTemplate, { prompt: last.content, ...parts }) };
    return [...prompt.slice(0, -1), message];
  };
  // A resumed run compares the text of a prompt's function, which is the same for all options.
  const named = () => `successfulRollout(${JSON.stringify(repromptOptions.settings(given))})`;
  return Object.assign(privileged, { toString: named });
}
