import { createCipheriv, diffieHellman, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto';
import { type Given, integer, options, PosttrainError } from '@posttrain/interfaces';

/** A sum that cannot be made, or must not be. Code `SECURE_AGGREGATION`. */
export class SecureAggregationError extends PosttrainError {
  constructor(problem: string) {
    super('SECURE_AGGREGATION', `secure aggregation: ${problem}`);
  }
}

const secureOptions = options('secureAggregation', {
  /** f: numbers are multiples of 2^-f; what they lose is half of that each. Default 20. */
  fractionBits: integer({ default: 20, min: 0, max: 30 }),
  /** Fewest clients whose sum the server may learn. Default 2; below that a sum is somebody's own numbers. */
  minClients: integer({ default: 2, min: 2 }),
});
/** Options of `secureAggregation`. */
export type SecureAggregationOptions = Given<typeof secureOptions>;

/** What a client of one round shows: its key, then its masked numbers, then what takes masks with lost clients off. */
export interface SecureParticipant {
  readonly name: string;
  /** Its X25519 key of this round, which the server hands to the others. */
  readonly publicKey: KeyObject;
  /**
   * Numbers in fixed point, masked: to the server, uniform modulo 2³².
   *
   * @param peers keys of all clients of the round by name, its own among them
   * @throws SecureAggregationError for a number that the sum has no room for
   */
  masked(values: Float64Array, peers: ReadonlyMap<string, KeyObject>): Uint32Array;
  /**
   * Seeds of the masks that it shares with clients that were lost, by their names. Given once a round: the server cannot ask
   * again with others in the place of the lost.
   *
   * @throws SecureAggregationError where fewer than `minClients` are left, or it has been asked before
   */
  reveal(lost: readonly string[]): ReadonlyMap<string, Buffer>;
}

/** Both sides of a sum in which the server sees no client's numbers. */
export interface SecureAggregation {
  readonly minClients: number;
  /** A client of a round, with keys of its own. */
  participant(name: string, round: number): SecureParticipant;
  /**
   * The sum of the numbers of those that have sent them, masks with the lost taken off.
   *
   * @param sent masked numbers by client
   * @param revealed what each of them gave for the lost; nothing where nobody was lost
   * @throws SecureAggregationError where too few have sent, or a seed is missing
   */
  sum(
    sent: ReadonlyMap<string, Uint32Array>,
    revealed?: ReadonlyMap<string, ReadonlyMap<string, Buffer>>,
    lost?: readonly string[],
  ): Float64Array;
}

const MODULUS = 2 ** 32;

/**
 * Secure aggregation by pairwise masks (Bonawitz et al. 2017): clients u and v agree by X25519 on a seed that nobody else has;
 * u adds the numbers that it stands for and v subtracts them, modulo 2³², so that in the sum of all they are gone. Numbers are in
 * fixed point, so that the sum is exact. Where a client is lost after keys were handed out, those that are left reveal
 * the seeds that they share with it, and nothing else.
 *
 * It protects from a server that is curious and follows the protocol. There are no masks of a client's own and no shares of them: a
 * server that takes the numbers of a client and says that it was lost learns them. No client must send after it was declared lost.
 *
 * @throws OptionError
 */
export function secureAggregation(given: SecureAggregationOptions = {}): SecureAggregation {
  const { fractionBits, minClients } = secureOptions.read(given);
  const scale = 2 ** fractionBits;
  return {
    minClients,
    participant: (name, round) => participant(name, round, { scale, minClients }),
    sum(sent, revealed = new Map(), lost = []) {
      if (sent.size < minClients) {
        throw new SecureAggregationError(
          `${sent.size} clients have sent, and ${minClients} are needed: the round is refused`,
        );
      }
      const [first] = sent.values();
      const total = new Uint32Array(first!.length);
      for (const [name, numbers] of sent) {
        if (numbers.length !== total.length) {
          throw new SecureAggregationError(`${name} sent ${numbers.length} numbers where others sent ${total.length}`);
        }
        for (let i = 0; i < total.length; i++) total[i]! += numbers[i]!;
        for (const other of lost) {
          const seed = revealed.get(name)?.get(other);
          if (!seed)
            throw new SecureAggregationError(`${name} has not revealed its seed with ${other}: the round is refused`);
          addMask(total, seed, name < other ? -1 : 1);
        }
      }
      // Modulo 2³², as numbers with a sign.
      return Float64Array.from(total, (word) => (word | 0) / scale);
    },
  };
}

function participant(
  name: string,
  round: number,
  { scale, minClients }: { readonly scale: number; readonly minClients: number },
): SecureParticipant {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  const seeds = new Map<string, Buffer>();
  let hasRevealed = false;
  return {
    name,
    publicKey,
    masked(values, peers) {
      if (peers.size < minClients) {
        throw new SecureAggregationError(`the round has ${peers.size} clients, and ${minClients} are needed`);
      }
      // The sum of all must fit, however the others' numbers are.
      const most = MODULUS / 2 / scale / peers.size;
      const odd = values.findIndex((value) => !(Math.abs(value) < most));
      if (odd >= 0) {
        throw new SecureAggregationError(
          `number ${odd} of ${name} is ${values[odd]}, and a sum of ${peers.size} has room for less than ${most} each: fewer fractionBits have more`,
        );
      }
      const numbers = Uint32Array.from(values, (value) => Math.round(value * scale));
      for (const [other, key] of peers) {
        if (other === name) continue;
        const secret = diffieHellman({ privateKey, publicKey: key });
        const info = JSON.stringify([round, ...[name, other].sort()]);
        const seed = Buffer.from(hkdfSync('sha256', secret, '', info, 32));
        seeds.set(other, seed);
        addMask(numbers, seed, name < other ? 1 : -1);
      }
      return numbers;
    },
    reveal(lost) {
      if (hasRevealed) throw new SecureAggregationError(`${name} has revealed its seeds of this round already`);
      if (seeds.size + 1 - lost.length < minClients) {
        throw new SecureAggregationError(
          `${name} reveals nothing: ${seeds.size + 1 - lost.length} clients are left, and ${minClients} are needed`,
        );
      }
      hasRevealed = true;
      return new Map(
        lost.map((other) => {
          const seed = seeds.get(other);
          if (!seed) throw new SecureAggregationError(`${name} shares no mask with ${other}`);
          return [other, seed];
        }),
      );
    },
  };
}

/** Adds (or takes off) what a seed stands for: the key stream of AES-256 in counter mode. */
function addMask(numbers: Uint32Array, seed: Buffer, sign: 1 | -1): void {
  const stream = createCipheriv('aes-256-ctr', seed, Buffer.alloc(16)).update(Buffer.alloc(4 * numbers.length));
  for (let i = 0; i < numbers.length; i++) numbers[i]! += sign * stream.readUInt32LE(4 * i);
}
