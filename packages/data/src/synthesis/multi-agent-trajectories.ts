import { type ChatMessage, custom, type Generator, type Given, integer, options, text } from '@posttrain/interfaces';
import { synthesisShape, synthesisStep, textOf } from '../steps/asking.js';
import { areRight, verifiedShape } from '../steps/verified.js';

/** One who speaks in a trajectory. */
export interface TrajectoryRole {
  readonly name: string;
  /** What it is told: `{task}` is the row's prompt. */
  readonly system: string;
  readonly generator: Generator;
}

const isRole = (one: Partial<TrajectoryRole> | null): boolean =>
  typeof one?.name === 'string' && typeof one.system === 'string' && typeof one.generator?.generate === 'function';

const trajectoryOptions = options('multiAgentTrajectories', {
  /** Who speaks, in this order, round by round. Names are different. */
  roles: custom<readonly TrajectoryRole[]>()(
    'a list of { name, system, generator } with different names, at least one',
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every(isRole) &&
      new Set(value.map(({ name }) => name)).size === value.length,
    { settings: (roles) => JSON.stringify(roles.map(({ name, system, generator }) => [name, system, generator.name])) },
  ),
  /** Rounds at the most. Default 3. */
  rounds: integer({ default: 3, min: 1 }),
  /** Who says this ends the conversation; what stands behind it is the outcome. Default `'FINAL:'`. */
  final: text({ default: 'FINAL:' }),
  /** Trajectories of each row; those that are right stay. Default 1. */
  samples: integer({ default: 1, min: 1 }),
  ...verifiedShape,
  ...synthesisShape,
});
/** Options of `multiAgentTrajectories`. */
export type MultiAgentTrajectoriesOptions = Given<typeof trajectoryOptions>;

/** A conversation of several roles whose outcome is right. */
export type TrajectoryRow = {
  readonly prompt: string;
  /** Who said what, in order. */
  readonly turns: readonly { readonly role: string; readonly model: string; readonly content: string }[];
  /** What was found. */
  readonly completion: string;
};

/**
 * Trajectories of several agents (survey arXiv 2502.21321 §5.12; AutoGen-like conversations, MALT 2412.01928): roles speak in turn, each sees all turns before with
 * its own as the assistant's, until one states an outcome, which is verified. Every turn of a trajectory that is right is in the row, with the role and the model that said it.
 *
 * @throws OptionError; RowError for a row without prompt; PosttrainError `BAD_RESPONSE`
 */
export function multiAgentTrajectories(given: MultiAgentTrajectoriesOptions) {
  const settings = trajectoryOptions.read(given);
  const { roles, rounds, final, samples, verifier, threshold } = settings;
  return synthesisStep<object, TrajectoryRow>(
    'multi-agent trajectories',
    JSON.stringify(trajectoryOptions.settings(given)),
    settings,
    async (row, ask, { signal, warn }, rowNumber) => {
      const prompt = textOf(row, 'prompt', rowNumber);
      const made: { row: TrajectoryRow; part: number }[] = [];
      for (let sample = 0; sample < samples; sample++) {
        const turns: { role: string; model: string; content: string }[] = [];
        let outcome: string | null = null;
        for (let turn = 0; turn < rounds * roles.length && outcome === null; turn++) {
          const { name, system, generator } = roles[turn % roles.length]!;
          const content = await ask(generator, seenBy(name, system, prompt, turns), `${sample} turn ${turn}`);
          turns.push({ role: name, model: generator.name, content });
          if (content.includes(final)) outcome = content.slice(content.indexOf(final) + final.length).trim();
        }
        const [isRight] = outcome === null ? [] : await areRight(verifier, row, prompt, [outcome], signal, threshold);
        if (isRight) made.push({ row: { prompt, turns, completion: outcome! }, part: sample });
        else warn(outcome === null ? 'a trajectory has no outcome' : 'an outcome is not right');
      }
      return made.length === 0 ? { drop: 'no trajectory is right' } : made;
    },
  );
}

/** The conversation as one role sees it: its own turns are the assistant's, all others a user's, with the name. */
function seenBy(name: string, system: string, task: string, turns: TrajectoryRow['turns']): ChatMessage[] {
  const messages: ChatMessage[] = [
    { role: 'system', content: system.replaceAll('{task}', () => task) },
    { role: 'user', content: task },
  ];
  for (const { role, content } of turns) {
    messages.push(role === name ? { role: 'assistant', content } : { role: 'user', content: `${role}: ${content}` });
  }
  return messages;
}
