import { Key, type Tensor, tensor } from '@posttrain/core-tensor';
import type { Named } from '@posttrain/core-tensor/optim';
import { custom, type Given, integer, options, PosttrainError, showValue } from '@posttrain/interfaces';
import type { SecureAggregation } from './secure-aggregation.js';

/** What a client is given: the server's parameters, in memory of its own. */
export interface ClientRound {
  readonly parameters: Named;
  /** Counted from 0. */
  readonly round: number;
}

/** What a client gives back. */
export interface ClientUpdate {
  readonly parameters: Named;
  /** n: how many rows it has trained on, which is its share in the average. The server sees it. */
  readonly examples: number;
}

/**
 * A client: trains from the server's parameters on rows that it keeps to itself. Undefined: it was lost, after it had been
 * asked.
 */
export type FederatedClient = (round: ClientRound) => Promise<ClientUpdate | undefined>;

const isRecord = (value: unknown): value is object => typeof value === 'object' && value !== null;

const fedAvgOptions = options('fedAvg', {
  /** Where the server starts: of an adapter, `adapter.parameters`. */
  parameters: custom<Named>()('tensors by name', isRecord, {}),
  /** By name. */
  clients: custom<Readonly<Record<string, FederatedClient>>>()(
    'functions by name',
    (value) => isRecord(value) && Object.values(value).every((client) => typeof client === 'function'),
    {},
  ),
  rounds: integer({ min: 1 }),
  /** How many of the clients a round asks, drawn anew. Default: all. */
  clientsPerRound: integer({ optional: true, min: 1 }),
  /** Fewest clients whose average is taken; a round with fewer is refused. Default 1. */
  minClients: integer({ default: 1, min: 1 }),
  /** The server sees sums only: `secureAggregation()`. Default: it sees every client's parameters. */
  aggregation: custom<SecureAggregation>()(
    'secureAggregation(…)',
    (value) => isRecord(value) && 'participant' in value,
    { optional: true },
  ),
  /** Of which clients are asked. Default 0. */
  seed: integer({ default: 0, min: 0 }),
});
/** Options of `fedAvg`. */
export type FedAvgOptions = Given<typeof fedAvgOptions>;

/** What became of a round. */
export interface FederatedRound {
  /** Clients whose parameters are in the average. */
  readonly clients: readonly string[];
  readonly lost: readonly string[];
  readonly examples: number;
}

/** The server's parameters after the last round. */
export interface FedAvgResult {
  readonly parameters: Named;
  readonly history: readonly FederatedRound[];
}

/** A round with too few clients. Code `FEDERATED_ROUND`. */
export class FederatedRoundError extends PosttrainError {
  constructor(round: number, problem: string) {
    super('FEDERATED_ROUND', `round ${round}: ${problem}`);
  }
}

/**
 * Federated averaging (arXiv 1602.05629): θ ← θ + Σ n_k (θ_k − θ) / Σ n_k over the clients of a round, where client k has trained θ
 * to θ_k on n_k rows of its own. A client that is lost is left out of the average. With one step of SGD on all of their rows it is
 * SGD on the rows of all. Of LoRA, factors are averaged, and not the products B·A that they stand for.
 *
 * With `aggregation`, clients mask what they send, and the server learns the sum only; a client that is lost after it was asked
 * is recovered, or the round refused.
 *
 * @throws OptionError, FederatedRoundError, SecureAggregationError, and what clients throw
 */
export async function fedAvg(given: FedAvgOptions): Promise<FedAvgResult> {
  const {
    parameters: start,
    clients,
    rounds,
    clientsPerRound,
    minClients,
    aggregation,
    seed,
  } = fedAvgOptions.read(given);
  const names = Object.keys(clients).sort();
  if (names.length === 0) throw new FederatedRoundError(0, 'there are no clients');
  let server = await flatOf(start, start);
  const history: FederatedRound[] = [];
  for (let round = 0; round < rounds; round++) {
    const chosen = chooseClients(names, clientsPerRound, Key.fromSeed(seed).child(round));
    const updates = new Map<string, { readonly change: Float64Array; readonly examples: number }>();
    for (const name of chosen) {
      const update = await clients[name]!({ parameters: tensorsOf(server, start), round });
      if (!update) continue;
      const { examples, parameters } = update;
      if (!(Number.isFinite(examples) && examples > 0)) {
        throw new FederatedRoundError(round, `client ${name} trained on ${showValue(examples)} examples`);
      }
      const now = await flatOf(parameters, start, `client ${name}`);
      updates.set(name, { change: now.map((x, i) => x - server[i]!), examples });
    }
    const lost = chosen.filter((name) => !updates.has(name));
    if (updates.size < minClients) {
      throw new FederatedRoundError(
        round,
        `${updates.size} of ${chosen.length} clients answered, and ${minClients} are needed`,
      );
    }
    const examples = [...updates.values()].reduce((sum, one) => sum + one.examples, 0);
    // A client's own work, with secure aggregation: only what it masks leaves it.
    const weighted = new Map(
      [...updates].map(([name, { change, examples: n }]) => [name, change.map((x) => (n / examples) * x)]),
    );
    const mean = aggregation
      ? maskedSum(aggregation, weighted, { round, chosen, lost })
      : sumOf([...weighted.values()]);
    server = server.map((x, i) => x + mean[i]!);
    history.push({ clients: [...updates.keys()], lost, examples });
  }
  return { parameters: tensorsOf(server, start), history };
}

function chooseClients(names: readonly string[], count = names.length, key: Key): readonly string[] {
  const drawn = key.uniformHost(names.length);
  const order = names.map((_, i) => i).sort((i, j) => drawn[i]! - drawn[j]!);
  return order
    .slice(0, count)
    .map((i) => names[i]!)
    .sort();
}

function maskedSum(
  aggregation: SecureAggregation,
  values: ReadonlyMap<string, Float64Array>,
  {
    round,
    chosen,
    lost,
  }: { readonly round: number; readonly chosen: readonly string[]; readonly lost: readonly string[] },
): Float64Array {
  const participants = chosen.map((name) => aggregation.participant(name, round));
  const keys = new Map(participants.map(({ name, publicKey }) => [name, publicKey]));
  const left = participants.filter(({ name }) => values.has(name));
  const sent = new Map(left.map((one) => [one.name, one.masked(values.get(one.name)!, keys)]));
  const revealed = lost.length > 0 ? new Map(left.map((one) => [one.name, one.reveal(lost)])) : undefined;
  return aggregation.sum(sent, revealed, lost);
}

function sumOf(vectors: readonly Float64Array[]): Float64Array {
  return vectors[0]!.map((_, i) => vectors.reduce((sum, vector) => sum + vector[i]!, 0));
}

/** All numbers one after another, in the order of `like`. */
async function flatOf(parameters: Named, like: Named, whose = 'the server'): Promise<Float64Array> {
  const parts: Float64Array[] = [];
  for (const [name, { shape }] of Object.entries(like)) {
    const found = parameters[name];
    if (`${found?.shape}` !== `${shape}`) {
      const problem = found ? `has ${name} as [${found.shape}], not [${shape}]` : `lacks ${name}`;
      throw new PosttrainError('PARAMETERS', `fedAvg: ${whose} ${problem}`);
    }
    parts.push(Float64Array.from(await found!.data(), Number));
  }
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function tensorsOf(flat: Float64Array, like: Named): Named {
  let at = 0;
  const result: Record<string, Tensor> = {};
  for (const [name, { shape, size }] of Object.entries(like)) {
    result[name] = tensor(Float32Array.from(flat.subarray(at, at + size)), shape);
    at += size;
  }
  return result;
}
