import type { Body, Statement } from './ast.js';

/** How deeply a body is nested: what one call of it takes of the stack. */
export function weightOf(body: Body): number {
  return Math.max(0, ...body.map(statementWeight));
}

function statementWeight(statement: Statement): number {
  switch (statement.kind) {
    case 'text':
    case 'break':
    case 'continue':
      return 1;
    case 'output':
      return 1 + statement.value.depth;
    case 'set':
      return 1 + statement.value.depth;
    case 'if':
      return (
        2 +
        Math.max(
          weightOf(statement.otherwise),
          ...statement.branches.map(([test, body]) => Math.max(test.depth, weightOf(body))),
        )
      );
    case 'for':
      return (
        3 +
        Math.max(
          statement.iterable.depth,
          statement.test?.depth ?? 0,
          weightOf(statement.body),
          weightOf(statement.otherwise),
        )
      );
    case 'with':
      return 2 + Math.max(weightOf(statement.body), ...statement.bindings.map(([, value]) => value.depth));
    case 'call-block':
      return 2 + statement.call.depth;
    case 'filter-block':
      return 2 + Math.max(statement.filter.depth, weightOf(statement.body));
    case 'macro':
      return 1;
    default:
      return 2 + weightOf(statement.body);
  }
}
