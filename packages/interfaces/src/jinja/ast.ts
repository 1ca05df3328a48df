import type { Ordering } from './compare.js';
import type { BinaryOperator } from './operators.js';
import type { Value } from './values.js';

export interface CallArguments {
  readonly args: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  /** `*args` */
  readonly rest?: Expression | undefined;
  /** `**kwargs` */
  readonly namedRest?: Expression | undefined;
}

export type Comparison = Ordering | '==' | '!=' | 'in' | 'not in';

export type Expression = { readonly line: number; readonly depth: number } & (
  | { readonly kind: 'constant'; readonly value: Value }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'list' | 'tuple' | 'concat'; readonly items: readonly Expression[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: 'unary'; readonly operator: '-' | '+' | 'not'; readonly operand: Expression }
  | {
      readonly kind: 'binary';
      readonly operator: BinaryOperator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | {
      readonly kind: 'compare';
      readonly first: Expression;
      readonly rest: readonly (readonly [Comparison, Expression])[];
    }
  | {
      readonly kind: 'condition';
      readonly test: Expression;
      readonly then: Expression;
      readonly otherwise: Expression | undefined;
    }
  | { readonly kind: 'attribute'; readonly object: Expression; readonly name: string }
  | { readonly kind: 'item'; readonly object: Expression; readonly key: Expression }
  | {
      readonly kind: 'slice';
      readonly object: Expression;
      readonly bounds: readonly (Expression | undefined)[];
    }
  | { readonly kind: 'call'; readonly callee: Expression; readonly call: CallArguments }
  | {
      readonly kind: 'filter' | 'test';
      readonly operand: Expression;
      readonly name: string;
      readonly call: CallArguments;
    }
  /** What the body of a filter or set block has rendered. */
  | { readonly kind: 'body' }
);

export type Target =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'attribute'; readonly name: string; readonly attribute: string }
  | { readonly kind: 'tuple'; readonly items: readonly Target[] };

export interface Signature {
  readonly parameters: readonly { readonly name: string; readonly missing: Expression | undefined }[];
  /** The names among `caller`, `varargs` and `kwargs` that the body reads. */
  readonly reads: ReadonlySet<string>;
}

export type Body = readonly Statement[];

export type Statement = { readonly line: number } & (
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'output'; readonly value: Expression }
  | { readonly kind: 'if'; readonly branches: readonly (readonly [Expression, Body])[]; readonly otherwise: Body }
  | {
      readonly kind: 'for';
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | undefined;
      readonly recursive: boolean;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | { readonly kind: 'break' | 'continue' }
  | { readonly kind: 'set'; readonly target: Target; readonly value: Expression }
  | {
      readonly kind: 'set-block';
      readonly target: Target;
      readonly filter: Expression | undefined;
      readonly body: Body;
    }
  | { readonly kind: 'with'; readonly bindings: readonly (readonly [Target, Expression])[]; readonly body: Body }
  | { readonly kind: 'macro'; readonly name: string; readonly signature: Signature; readonly body: Body }
  | {
      readonly kind: 'call-block';
      readonly call: Expression & { readonly kind: 'call' };
      readonly signature: Signature;
      readonly body: Body;
    }
  | { readonly kind: 'filter-block'; readonly filter: Expression; readonly body: Body }
  | { readonly kind: 'generation'; readonly body: Body }
  | { readonly kind: 'block'; readonly scoped: boolean; readonly body: Body }
);

/** Source of an expression without the nesting, which `node` counts. */
type Plain<T> = T extends unknown ? Omit<T, 'depth'> : never;

/** An expression, with how deeply it is nested. */
export function node(plain: Plain<Expression>, ...children: readonly (Expression | undefined)[]): Expression {
  const depth = 1 + Math.max(0, ...children.map((child) => child?.depth ?? 0));
  return { ...plain, depth } as Expression;
}
