import { type Given, integer, options } from '@posttrain/interfaces';
import { createRandom } from '@posttrain/interfaces/random';
import type { Tool } from '../agents/tool-agent.js';
import { type AgentTask, agent } from '../kinds/agent.js';
import { stateSuccess } from '../metrics/agent.js';

/** Orders of a shop by number. */
export type ShopState = Readonly<
  Record<
    string,
    { readonly status: 'open' | 'sent' | 'cancelled'; readonly town: string; readonly items: readonly string[] }
  >
>;
/** A request of a customer. */
export interface ShopRow {
  readonly request: string;
  readonly state: ShopState;
  /** What has to be so at the end. */
  readonly goal: ShopState;
}

const TOWNS = ['Ashby', 'Birnam', 'Corley', 'Dunmore', 'Elswick'];
const ITEMS = ['lamp', 'kettle', 'chair', 'clock', 'mirror', 'rug'];

function open(state: ShopState, order: unknown) {
  const found = typeof order === 'string' && Object.hasOwn(state, order) ? state[order] : undefined;
  if (!found) throw new Error(`there is no order ${String(order)}.`);
  if (found.status !== 'open') throw new Error(`the order ${String(order)} is ${found.status} and cannot be changed.`);
  return { id: order as string, ...found };
}

/** The tools of the shop. Only open orders can be changed. */
export const shopTools = {
  get_order: {
    description: 'get_order(order): what an order has',
    run: (state, { order }) => {
      if (typeof order !== 'string' || !Object.hasOwn(state, order))
        throw new Error(`there is no order ${String(order)}.`);
      return { state, result: state[order] };
    },
  },
  cancel_order: {
    description: 'cancel_order(order): cancels an open order',
    run: (state, { order }) => {
      const { id, ...found } = open(state, order);
      return { state: { ...state, [id]: { ...found, status: 'cancelled' } }, result: 'cancelled' };
    },
  },
  change_address: {
    description: 'change_address(order, town): sends an open order to another town',
    run: (state, { order, town }) => {
      const { id, ...found } = open(state, order);
      if (!TOWNS.includes(String(town))) throw new Error(`nothing is sent to ${String(town)}.`);
      return { state: { ...state, [id]: { ...found, town: String(town) } }, result: 'changed' };
    },
  },
  exchange_item: {
    description: 'exchange_item(order, old, new): puts another item in the place of one of an open order',
    run: (state, { order, old, new: item }) => {
      const { id, ...found } = open(state, order);
      const at = found.items.indexOf(String(old));
      if (at < 0) throw new Error(`the order ${id} has no ${String(old)}.`);
      if (!ITEMS.includes(String(item))) throw new Error(`the shop has no ${String(item)}.`);
      return {
        state: { ...state, [id]: { ...found, items: found.items.with(at, String(item)) } },
        result: 'exchanged',
      };
    },
  },
} as const satisfies Readonly<Record<string, Tool<ShopState>>>;

const shopOptions = options('shopTask', {
  /** Default 50. */
  count: integer({ default: 50, min: 1 }),
  /** Changes of one request. Default 3. */
  changes: integer({ default: 3, min: 1, max: 6 }),
  /** Default 0. */
  seed: integer({ default: 0 }),
});
/** Options of `shopTask`. */
export type ShopTaskOptions = Given<typeof shopOptions>;

/** What the agent is told before the tools. */
export const SHOP_POLICY = 'You keep the orders of a shop. Do what the customer asks, and nothing else.';

/**
 * A shop whose orders a customer wants changed, in the manner of τ-bench: made from a seed, with the state that has to come of it. The agent is
 * `toolAgent({ generator, tools: shopTools, policy: SHOP_POLICY })`, or any other that begins with the row's `state`.
 *
 * @throws OptionError
 */
export function shopTask(given: ShopTaskOptions = {}): AgentTask<ShopRow> {
  const { count, changes, seed } = shopOptions.read(given);
  return agent<ShopRow>({
    name: 'shop',
    dataset: Array.from({ length: count }, (_, index) => shopRow(seed, index, changes)),
    prompt: ({ request }) => request,
    goal: ({ goal }) => goal,
    metrics: [stateSuccess()],
  });
}

function shopRow(seed: number, index: number, changes: number): ShopRow {
  const random = createRandom(seed, 'shop', index);
  const ids = Array.from({ length: changes + 2 }, (_, i) => String(1000 + 97 * index + i));
  const state: ShopState = Object.fromEntries(
    ids.map((id, i) => [
      id,
      {
        status: i < changes ? 'open' : random.pick(['open', 'sent'] as const),
        town: random.pick(TOWNS),
        items: random.shuffled(ITEMS).slice(0, 2),
      },
    ]),
  );
  let goal = state;
  const wishes = ids.slice(0, changes).map((order) => {
    const { town, items } = state[order]!;
    const kind = random.integer(0, 2);
    if (kind === 0) {
      goal = shopTools.cancel_order.run(goal, { order }).state;
      return `order ${order}: cancel it`;
    }
    if (kind === 1) {
      const other = random.pick(TOWNS.filter((one) => one !== town));
      goal = shopTools.change_address.run(goal, { order, town: other }).state;
      return `order ${order}: send it to ${other}`;
    }
    const [old, item] = [random.pick(items), random.pick(ITEMS.filter((one) => !items.includes(one)))];
    goal = shopTools.exchange_item.run(goal, { order, old, new: item }).state;
    return `order ${order}: change the ${old} for the ${item}`;
  });
  return { request: `Please change my orders. ${wishes.join('; ')}.`, state, goal };
}
