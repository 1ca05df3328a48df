import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { Key } from '@posttrain/core-tensor';
import type { ChatMessage, Generator, Verifier } from '@posttrain/interfaces';
import { describe, expect, it } from 'vitest';
import { quickjs, unitTests } from '../../sandbox/src/index.js';
import { bm25 } from '../../tts/src/index.js';
import {
  bandit,
  bestMoves,
  calculate,
  calculator,
  codeTests,
  documentFacts,
  documentSearch,
  gameEnvironment,
  gridWorld,
  httpConnection,
  minimax,
  nim,
  type PromptRow,
  play,
  processConnection,
  type Reply,
  returnOf,
  type ScriptedUser,
  type ServedEnvironment,
  type ServerConnection,
  servedEnvironment,
  type TaskEnvironment,
  type TwoPlayerGame,
  textGame,
  ticTacToe,
  type UserSimulatorOptions,
  userSimulator,
} from '../src/index.js';
import { readGolden } from './goldens.js';

const context = (sample: number) => ({ sample, step: 0, key: Key.fromSeed(1).child(sample) });

describe('built-in environments', () => {
  const codeVerifier: Verifier = {
    name: 'evaluates',
    async verify(requests) {
      return requests.map(({ completion, row }) => {
        const code = /```js\n([\s\S]*?)```/.exec(completion)?.[1] ?? completion;
        const tests = row!.test as readonly string[];
        const passed = tests.filter((test) => {
          try {
            runInNewContext(`${code}\n${test}`);
            return true;
          } catch {
            return false;
          }
        }).length;
        return { score: passed / tests.length, explanation: `${passed} passed` };
      });
    },
  };
  const makers: Readonly<Record<string, () => TaskEnvironment<never>>> = {
    calculator: () => calculator({ operands: 3 }) as never,
    'text game': () => textGame() as never,
    'document search': () => documentSearch({ retriever: bm25(documentFacts(50, 0)) }) as never,
    'code tests': () => codeTests({ verifier: codeVerifier }) as never,
  };
  /** What an episode pays whose replies are `say`'s. */
  const worth = async (
    environment: TaskEnvironment<never>,
    row: never,
    say: (messages: readonly ChatMessage[], turn: number) => Reply,
  ) => {
    const episode = await environment.start(row, context(0));
    const messages = [...episode.messages];
    let paid = 0;
    for (let turn = 0; turn < 40; turn++) {
      const reply = say(messages, turn);
      const step = await episode.step(reply);
      paid += step.reward ?? 0;
      messages.push(reply, ...step.messages);
      if (step.done) return paid;
    }
    return paid;
  };

  it.each(Object.entries(makers))(
    '%s: rows come from the seed, and the oracle gets exactly what it says, and others less',
    async (_, make) => {
      const environment = make();
      const rows = environment.rows(12, 7);
      expect(make().rows(5, 7)).toEqual(rows.slice(0, 5));
      expect(environment.rows(12, 8)).not.toEqual(rows);
      for (const row of rows) {
        const best = environment.best(row);
        expect(await worth(environment, row, (messages) => environment.oracle(row, messages))).toBeCloseTo(best, 12);
        const silent = await worth(environment, row, () => ({ role: 'assistant', content: 'I do not know.' }));
        expect(silent).toBeLessThan(best);
        // An oracle that loses its first turn is worth at most as much.
        const late = await worth(environment, row, (messages, turn) =>
          turn === 0 ? { role: 'assistant', content: 'go nowhere' } : environment.oracle(row, messages),
        );
        expect(late).toBeLessThanOrEqual(best);
      }
    },
  );

  it.each<[string, number]>([
    ['7', 7],
    ['2 + 3 * 4', 14],
    ['2*3 + 4*5', 26],
    ['10 - 2 - 3', 5],
    ['-2 * -3', 6],
    ['4 - -1', 5],
    ['2 * 3 * 4 - 30', -6],
  ])('the calculator says that %s is %d', (expression, value) => {
    expect(calculate(expression)).toBe(value);
  });

  it.each(['2 +', '(1)', '1/2', 'process', '', '1 2'])('the calculator refuses %j', (expression) => {
    expect(() => calculate(expression)).toThrow(/is no expression/);
  });

  it('the shortest way through a house is as long as a search over all of its states says', async () => {
    const game = textGame({ side: 3, cost: 1 });
    const commands = ['go north', 'go south', 'go west', 'go east', 'take key', 'open chest'];
    for (const row of game.rows(6, 3)) {
      // By what the game itself says: sequences of commands, shortest first, each state once.
      let reached: readonly (readonly string[])[] = [[]];
      const seen = new Set<string>();
      let shortest: number | undefined;
      for (let length = 1; shortest === undefined && length < 20; length++) {
        const next: string[][] = [];
        for (const before of reached) {
          for (const command of commands) {
            const episode = await game.start(row, context(0));
            let last: Awaited<ReturnType<typeof episode.step>> | undefined;
            for (const one of [...before, command]) last = await episode.step({ role: 'assistant', content: one });
            if (last!.done) shortest ??= length;
            const state = last!.messages[0]!.content.replace('Nothing happens. ', '');
            if (seen.has(state)) continue;
            seen.add(state);
            next.push([...before, command]);
          }
        }
        reached = next;
      }
      expect(game.best(row)).toBe(1 - shortest!);
    }
  });

  it('a search over documents finds both passages', async () => {
    const finder = bm25(documentFacts(50, 0));
    for (const { queries, answer } of documentSearch({ retriever: finder }).rows(20, 1)) {
      const found = await finder.retrieve(queries[1]!, 3);
      expect(found.map(({ text }) => text).join(' ')).toContain(answer);
    }
  });

  it('code may be tried again after what the tests said', async () => {
    const environment = codeTests({ verifier: codeVerifier, attempts: 2 });
    const [row] = environment.rows(1, 1);
    const said = await worth(environment as never, row as never, (messages, turn) =>
      turn === 0 ? { role: 'assistant', content: 'function f(x) { return -1; }' } : environment.oracle(row!, messages),
    );
    expect(said).toBe(1);
    const sandboxed = codeTests({ verifier: unitTests({ sandbox: quickjs(), score: 'fraction' }), attempts: 1 });
    const [asked] = sandboxed.rows(1, 2);
    expect(await worth(sandboxed as never, asked as never, (messages) => sandboxed.oracle(asked!, messages))).toBe(1);
    const wrong = '```js\nfunction f(x) { return x === 0 ? NaN : undefined; }\n```';
    expect(await worth(sandboxed as never, asked as never, () => ({ role: 'assistant', content: wrong }))).toBe(0);
  });

  it('nim is won by the exclusive or of its heaps, and noughts and crosses by nobody', () => {
    const game = nim({ heaps: [3, 4, 5] });
    const worthOf = minimax(game);
    for (let a = 0; a <= 3; a++) {
      for (let b = 0; b <= 4; b++) {
        for (let c = 0; c <= 5; c++) expect(worthOf([a, b, c])).toBe((a ^ b ^ c) === 0 ? -1 : 1);
      }
    }
    expect(bestMoves(game, [3, 4, 5])).toEqual(['1-2']);
    const board = ticTacToe();
    const seen = new Set([board.start]);
    for (const at of seen) for (const move of board.moves(at)) seen.add(board.play(at, move));
    // As many positions as are known to be reachable.
    expect(seen.size).toBe(5478);
    const worth = minimax(board);
    // Who is to move takes the line; or cannot take two of the other's at once.
    expect([worth(board.start), worth('xx.oo....'), worth('xox.ox...'), worth('x.xo..o.x')]).toEqual([0, 1, 1, -1]);
  });

  it('two play a game, each told the position; best play gives what minimax says', async () => {
    for (const [game, first] of [
      [nim({ heaps: [1, 2, 3] }), -1],
      [nim({ heaps: [2, 3] }), 1],
      [ticTacToe(), 0],
    ] as const) {
      const own = game as TwoPlayerGame<unknown>;
      const episode = await gameEnvironment(own).start({ prompt: '' }, context(0));
      let state = own.start;
      for (let turn = await episode.next(); turn; turn = await episode.next()) {
        expect(turn.messages[0]!.content).toBe(own.show(state));
        const [move] = bestMoves(own, state);
        await episode.take(turn.role, { role: 'assistant', content: `I say ${move}.` });
        state = own.play(state, move!);
      }
      expect(await episode.rewards()).toEqual({ first, second: first === 0 ? 0 : -first });
    }
    const lost = await gameEnvironment(nim()).start({ prompt: '' }, context(0));
    await lost.next();
    await lost.take('first', { role: 'assistant', content: '9-9' });
    expect([await lost.next(), await lost.rewards()]).toEqual([undefined, { first: -1, second: 1 }]);
  });

  it('a gridworld is worth what its shortest ways are, or what its slips cost, and its oracle gets it', async () => {
    const straight = gridWorld({ width: 4, height: 3, cost: 0.1 });
    const values = straight.values();
    for (let cell = 0; cell < 11; cell++) {
      const distance = 3 - (cell % 4) + (2 - Math.floor(cell / 4));
      expect(values[cell]).toBeCloseTo(1 - 0.1 * (distance - 1), 12);
    }
    const [played] = await play({ environment: straight, policy: straight.oracle, episodes: 1, maxSteps: 100 });
    expect(returnOf(played!)).toBeCloseTo(values[0]!, 12);
    // Two cells in a row: a slip moves on with 1/4, so p = 1 − 0.4 · 3/4 a step, and 1/p steps are expected.
    const two = gridWorld({ width: 2, height: 1, slip: 0.4, cost: 0.5 });
    expect(two.values()[0]).toBeCloseTo(1 - 0.5 * (1 / 0.7 - 1), 9);
    const slipping = gridWorld({ width: 3, height: 2, slip: 0.3, randomStart: false });
    const many = await play({ environment: slipping, policy: slipping.oracle, episodes: 800, maxSteps: 100 });
    const mean = many.reduce((sum, one) => sum + returnOf(one), 0) / many.length;
    expect(Math.abs(mean - slipping.values()[0]!)).toBeLessThan(0.04);
  });

  it('a bandit pays in the mean what it says', async () => {
    for (const payout of ['bernoulli', 'normal', 'constant'] as const) {
      const arms = bandit({ means: [0.2, 0.7, 0.4], payout, pulls: 2 });
      expect(arms.best).toBe(1.4);
      const played = await play({ environment: arms, policy: arms.oracle, episodes: 800, maxSteps: 2 });
      const mean = played.reduce((sum, one) => sum + returnOf(one), 0) / played.length;
      expect(Math.abs(mean - 1.4), payout).toBeLessThan(payout === 'constant' ? 1e-12 : 0.2);
    }
    expect(() => bandit({ means: [2] })).toThrow(/must be from 0 to 1/);
  });

  it('a user by script asks on until the script ends; a played one sees the other side and ends by a word', async () => {
    const asked: unknown[] = [];
    const generator: Generator = {
      name: 'player',
      async generate([request]) {
        asked.push(request);
        const text = asked.length === 1 ? 'And why?' : 'Thanks. [done]';
        return [[{ text, finishReason: 'stop', usage: { promptTokens: 0, completionTokens: 0 } }]];
      },
    };
    const verifier: Verifier = {
      name: 'turns',
      verify: async (requests) => requests.map(({ messages }) => ({ score: messages!.length })),
    };
    const talk = async (options: UserSimulatorOptions) => {
      const episode = await userSimulator(options).start(
        { prompt: 'Who?', persona: 'Curious.' } as PromptRow,
        context(0),
      );
      const said: string[] = [];
      for (let turn = 0; turn < 9; turn++) {
        const { messages, done } = await episode.step({ role: 'assistant', content: `It is ${turn}.` });
        said.push(...messages.map(({ content }) => content));
        if (done) break;
      }
      return [said, await episode.reward?.()];
    };
    const script: ScriptedUser = (messages) => (messages.length < 5 ? `More than ${messages.at(-1)!.content}` : null);
    expect(await talk({ script })).toEqual([['More than It is 0.', 'More than It is 1.'], undefined]);
    expect(await talk({ script: () => 'More', maxUserTurns: 3, verifier })).toEqual([['More', 'More'], 6]);
    expect(await talk({ generator, verifier })).toEqual([['And why?'], 4]);
    const [first, second] = asked as { prompt: ChatMessage[]; seed: number }[];
    expect(first!.prompt.map(({ role }) => role)).toEqual(['system', 'assistant', 'user']);
    expect(first!.prompt[0]!.content).toContain('Curious.');
    expect(second!.seed).not.toBe(first!.seed);
    expect(() => userSimulator({})).toThrow(/one of "script" and "generator"/);
  });
});

describe('environments of a server', () => {
  interface Exchange {
    readonly method: string;
    readonly params: Record<string, unknown>;
    readonly result?: Record<string, unknown>;
    readonly error?: string;
  }
  interface Conversation {
    readonly arguments: readonly string[];
    readonly exchanges: readonly Exchange[];
  }
  const conversations = readGolden<Record<string, Conversation>>('conversations.json', 'environment-server');

  /** Answers as was recorded, and only to what was asked then. */
  const recorded = (exchanges: readonly Exchange[]): ServerConnection => {
    let next = 0;
    return {
      name: 'recorded',
      async ask({ id, method, params }) {
        const { method: wanted, params: asked, ...answer } = exchanges[next++]!;
        expect(method).toBe(wanted);
        if (method !== 'start') expect(params).toEqual(asked);
        return { id, ...answer };
      },
      close: async () => undefined,
    };
  };

  /** Plays the recorded replies, and says what came of each. */
  const replay = async (connection: ServerConnection, exchanges: readonly Exchange[]) => {
    const environment = await servedEnvironment(connection);
    const rows = await environment.rows(0, 2);
    const steps: unknown[] = [];
    const starts = exchanges.flatMap(({ method, params }, i) =>
      method === 'start' && !exchanges[i]!.error ? [{ i, params }] : [],
    );
    const first: unknown[] = [];
    for (const { i, params } of starts) {
      const episode = await environment.start({ ...rows[0]!, index: params.index as number }, context(0));
      first.push(episode.messages.map(({ content }) => content));
      for (const { method, params: own } of exchanges.slice(i + 1)) {
        if (method !== 'step') break;
        const { messages, reward, done } = await episode.step(own.reply as Reply);
        steps.push([messages.map(({ role, content }) => [role, content]), reward ?? null, done]);
      }
      await episode.close!();
    }
    await expect(environment.start({ ...rows[0]!, index: 99 }, context(0))).rejects.toThrow(/there is no row 99/);
    return { first, steps, size: environment.size, name: environment.name };
  };

  const wantedOf = (exchanges: readonly Exchange[]) =>
    exchanges
      .filter(({ method }) => method === 'step')
      .map(({ result }) => [
        (result!.messages as ChatMessage[]).map(({ role, content }) => [role, content]),
        result!.reward ?? null,
        result!.done,
      ]);

  it.each(Object.entries(conversations))(
    '%s, recorded: says and pays what the real one did',
    async (name, { exchanges }) => {
      const { steps, size, name: own } = await replay(recorded(exchanges), exchanges);
      expect(steps).toEqual(wantedOf(exchanges));
      expect([own.split('/')[0], size]).toEqual([name.split(' ')[0], name === 'reasoning-gym' ? 4 : 2]);
      // Right and wrong are told apart, by the real ones.
      const rewards = wantedOf(exchanges).flatMap(([, reward]) => (reward === null ? [] : [reward as number]));
      expect([Math.max(...rewards), Math.min(...rewards) < 1]).toEqual([1, true]);
    },
  );

  for (const [name, { arguments: own, exchanges }] of Object.entries(conversations)) {
    it(`${name}, played by the packages themselves`, { timeout: 240_000 }, async ({ skip }) => {
      const python = process.env.POSTTRAIN_ENVIRONMENTS_PYTHON;
      if (!python) return skip('POSTTRAIN_ENVIRONMENTS_PYTHON names no Python with verifiers and reasoning-gym');
      const program = fileURLToPath(new URL('../../../examples/agentic/serve_environment.py', import.meta.url));
      const env = { PYTHONPATH: fileURLToPath(new URL('../../../goldens/environment-server', import.meta.url)) };
      const lines = processConnection([python, program, ...own], { env });
      expect((await replay(lines, exchanges)).steps).toEqual(wantedOf(exchanges));
      await lines.close();
      const server = spawn(python, [program, ...own, '--http', '0'], { env: { ...process.env, ...env } });
      try {
        const url = await new Promise<string>((resolve) =>
          server.stdout.once('data', (line) => resolve(String(line).trim())),
        );
        expect((await replay(httpConnection(url), exchanges)).steps).toEqual(wantedOf(exchanges));
      } finally {
        server.kill();
      }
    });
  }

  it('a server that answers nonsense, dies, or cannot be started is named', async () => {
    const saying = (result: unknown): ServerConnection => ({
      ...{ name: 'odd', close: async () => undefined },
      ask: async ({ id, method }) => ({
        id,
        result: method === 'describe' && result === 7 ? { name: 'odd', size: 1 } : result,
      }),
    });
    await expect(servedEnvironment(saying({ name: 'x' }))).rejects.toThrow(/describe answered undefined for size/);
    const odd = await servedEnvironment(saying(7));
    const described = (result: unknown, error?: unknown): Promise<ServedEnvironment> =>
      servedEnvironment({
        ...{ name: 'odd', close: async () => undefined },
        ask: async ({ id, method }) =>
          method === 'describe'
            ? { id, result: { name: 'odd', size: 3 }, error: null }
            : { id, result, ...(error !== undefined && { error: error as string }) },
      });
    const row = { index: 0, prompt: 'p' };
    for (const rows of [
      [row],
      [row, row, row],
      [row, row, { index: 2 }],
      [row, row, { index: 2, prompt: 3 }],
      'rows',
    ]) {
      await expect((await described({ rows })).rows()).rejects.toThrow(/rows answered/);
    }
    const messages = [{ role: 'user', content: 'go' }];
    for (const [result, problem] of [
      [{ messages }, /start answered undefined for episode/],
      [{ messages, episode: 1, tools: 'all' }, /start answered "all" for tools/],
      [{ messages: [{ role: 'user' }], episode: 1 }, /start answered \[.*\] for messages/],
    ] as const) {
      await expect((await described(result)).start(row, context(0))).rejects.toThrow(problem);
    }
    await expect((await described({}, { code: 7, why: 'no' })).rows()).rejects.toThrow(
      'rows failed: {"code":7,"why":"no"}',
    );
    await expect(odd.rows()).rejects.toThrow(/rows answered undefined for rows/);
    await expect(odd.start({ index: 0, prompt: '' }, context(0))).rejects.toThrow(
      /start answered undefined for episode/,
    );
    const node = (script: string) => servedEnvironment(processConnection([process.execPath, '-e', script]));
    await expect(node('console.error("no batteries"); process.exit(3)')).rejects.toThrow(
      /has ended \(3\)\. It said:\nno batteries/,
    );
    await expect(servedEnvironment(processConnection(['/no/such/program']))).rejects.toThrow(/cannot be started/);
    await expect(servedEnvironment(httpConnection('http://127.0.0.1:1/'))).rejects.toThrow(/cannot be reached/);
  });

  it('a server that ends, and leaves children that hold its output, is not waited for', async () => {
    // Of its answer nothing comes; its child would write to the same pipe for minutes.
    const orphan = "require('child_process').spawn('sleep', ['40'], { stdio: 'inherit', detached: true }).unref();";
    const node = (script: string) => processConnection([process.execPath, '-e', `${orphan} ${script}`]);
    const begun = performance.now();
    await expect(servedEnvironment(node('setTimeout(() => process.exit(4), 50)'))).rejects.toThrow(/has ended \(4\)/);
    const answers =
      "process.stdin.on('data', (d) => console.log(JSON.stringify({ id: 1, result: { name: 'x', size: 1 } })));";
    const connection = node(answers);
    await (await servedEnvironment(connection)).close();
    await expect(servedEnvironment(connection)).rejects.toThrow(/has ended/);
    expect(performance.now() - begun).toBeLessThan(35_000);
  });

  it('one that never answers, or never comes to the end of a line, fails in time', async () => {
    const silent = processConnection([process.execPath, '-e', 'setInterval(() => {}, 1000)']);
    await expect(servedEnvironment(silent, { timeoutMs: 30 })).rejects.toThrow(
      /describe was not answered within 30 ms \(timeoutMs\)/,
    );
    const gone = new AbortController();
    gone.abort(new Error('nobody waits'));
    await expect(silent.ask({ id: 9, method: 'rows', params: {} }, gone.signal)).rejects.toThrow('nobody waits');
    const waiting = new AbortController();
    const asked = Array.from({ length: 12 }, (_, id) => silent.ask({ id, method: 'rows', params: {} }, waiting.signal));
    waiting.abort(new Error('enough'));
    for (const { status } of await Promise.allSettled(asked)) expect(status).toBe('rejected');
    await silent.close();
    const endless = processConnection([
      process.execPath,
      '-e',
      "const x = 'x'.repeat(1 << 20); const go = () => process.stdout.write(x, go); process.stdin.once('data', go);",
    ]);
    await expect(servedEnvironment(endless)).rejects.toThrow(/wrote a line of more than 67108864 bytes/);
    const half = createServer((_, response) => {
      response.writeHead(200, { 'content-length': '1000' }).write('{"id":1,');
      setTimeout(() => response.destroy(), 5);
    }).listen(0, '127.0.0.1');
    await once(half, 'listening');
    const { port } = half.address() as AddressInfo;
    await expect(servedEnvironment(httpConnection(`http://127.0.0.1:${port}/`))).rejects.toThrow(
      /broke off in its answer/,
    );
    half.close();
  });

  it('a process may print what it likes between its answers, and is ended when it is closed', async () => {
    const script =
      "require('readline').createInterface({ input: process.stdin }).on('line', (line) => { const { id } = JSON.parse(line); console.log('{hello'); console.log(JSON.stringify({ id, result: { name: 'chatty', size: 3 } })); })";
    const connection = processConnection([process.execPath, '-e', script]);
    expect((await servedEnvironment(connection)).size).toBe(3);
    await connection.close();
    await expect(servedEnvironment(connection)).rejects.toThrow(/has ended/);
  });
});
