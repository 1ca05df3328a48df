import { randomUUID } from 'node:crypto';
import {
  custom,
  excerpt,
  type Given,
  type HasSettings,
  OptionError,
  options,
  type Sandbox,
  type SandboxLimits,
  text,
  type Verdict,
  type Verifier,
} from '@posttrain/interfaces';
import { RewardError } from './reward.js';

const isSandbox = (value: unknown) => typeof (value as Partial<Sandbox> | null)?.run === 'function';

/** What runs a program that somebody else wrote. */
export const codeShape = {
  /** What runs the program, which nobody has read; it must know JavaScript, as `quickjs()` of `@posttrain/sandbox` does. */
  sandbox: custom<Sandbox>()('a Sandbox', isSandbox, { settings: ({ name }) => name }),
  /** Of one run of the program, over all completions that are asked about together. Default: the sandbox's. */
  limits: custom<SandboxLimits>()('an object, as { wallMs }', (value) => typeof value === 'object' && value !== null, {
    default: {},
  }),
};

const codeRewardOptions = options('codeReward', {
  ...codeShape,
  /** A program that defines `reward(prompt, completion, row)`: a number, or numbers by name, whose sum is the reward. */
  code: text({}),
});
/** Options of `codeReward`. */
export type CodeRewardOptions = Given<typeof codeRewardOptions>;

/** A verdict with what its score is the sum of. */
export interface CodeVerdict extends Verdict {
  readonly components: Readonly<Record<string, number>>;
}

/** A reward that is a program. */
export type CodeReward = Omit<Verifier, 'verify'> &
  HasSettings & {
    verify(requests: Parameters<Verifier['verify']>[0]): Promise<CodeVerdict[]>;
  };

/**
 * The program that runs the reward and prints its values behind the nonce. An indirect eval sees the global scope only: what the program prints
 * itself is never taken for values.
 */
const harnessOf = (code: string, requests: readonly object[]): string => `
((program, requests, nonce, say, stringify, run) => {
  const reward = run(program + '\\n;reward');
  const values = [];
  for (const { prompt, completion, row } of requests) values.push(reward(prompt, completion, row));
  say('\\n' + nonce + ' ' + stringify(values));
})(${JSON.stringify(code)}, ${JSON.stringify(requests)}, readline(), print, JSON.stringify, eval);
`;

/**
 * A reward that is a program of a model's (as Eureka's, arXiv 2310.12931), run in a sandbox and nowhere else. A value that is no finite number is not
 * scorable. `components` are what the program said by name, or its number as `reward`.
 *
 * @throws OptionError for a sandbox without JavaScript; RewardError for a program that fails, or is stopped by a limit; what the sandbox throws where it cannot
 *   run
 */
export function codeReward(given: CodeRewardOptions): CodeReward {
  const { sandbox, limits, code } = codeRewardOptions.read(given);
  if (!sandbox.languages.includes('javascript')) {
    const problem = `sandbox: ${sandbox.name} runs ${sandbox.languages.join(', ') || 'no language'}; take one that runs javascript.`;
    throw new OptionError('INVALID_OPTION', 'codeReward', 'sandbox', problem);
  }
  return {
    name: 'codeReward',
    settings: codeRewardOptions.settings(given),
    async verify(requests) {
      if (requests.length === 0) return [];
      const nonce = randomUUID();
      const asked = requests.map(({ prompt, completion, row = {} }) => ({ prompt, completion, row }));
      const signal = requests.find((request) => request.signal)?.signal;
      const result = await sandbox.run({
        ...{ language: 'javascript', code: harnessOf(code, asked), stdin: `${nonce}\n`, limits },
        ...(signal && { signal }),
      });
      const line = result.stdout.split('\n').find((one) => one.startsWith(`${nonce} `));
      if (line === undefined) {
        const why = result.stoppedBy
          ? `was stopped: ${result.stoppedBy}`
          : `failed: ${excerpt(result.stderr.trim(), 300)}`;
        throw new RewardError('codeReward', `is a program that ${why}`);
      }
      const values = JSON.parse(line.slice(nonce.length + 1)) as unknown[];
      return requests.map((_, i) => verdictOf(values[i]));
    },
  };
}

function verdictOf(value: unknown): CodeVerdict {
  const components = (typeof value === 'object' && value !== null ? value : { reward: value }) as Record<
    string,
    number
  >;
  const numbers = Object.values(components);
  if (numbers.length === 0 || !numbers.every((x) => typeof x === 'number' && Number.isFinite(x))) {
    return {
      score: null,
      components: {},
      explanation: `the program said ${excerpt(JSON.stringify(value) ?? 'nothing', 80)}`,
    };
  }
  return { score: numbers.reduce((sum, x) => sum + x, 0), components, explanation: JSON.stringify(components) };
}
