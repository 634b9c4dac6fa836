// A charging station of OCPP 2.0.1 on ocpp-rpc in strict mode: every message is held against the consortium's schemas.
// Environment: ENDPOINT, IDENTITY. Prints a JSON line for what happens; reads lines as orders.
const { RPCClient } = require("ocpp-rpc");
const readline = require("readline");

const say = (what) => console.log(JSON.stringify(what));
const now = () => new Date().toISOString();
const { ENDPOINT, IDENTITY } = process.env;
const client = new RPCClient({ endpoint: ENDPOINT, identity: IDENTITY, protocols: ["ocpp2.0.1"], strictMode: true });
const transactionId = "rpc-1";
let limitW = 11000, running = false, wh = 5000, seqNo = 0;

client.on("strictValidationFailure", ({ error }) => say({ invalid: String(error) }));
client.handle("GetVariables", ({ params }) => ({
  getVariableResult: params.getVariableData.map(({ component, variable }) => ({
    attributeStatus: "Accepted", attributeValue: "W,A", component, variable,
  })),
}));
client.handle("SetVariables", ({ params }) => ({
  setVariableResult: params.setVariableData.map(({ component, variable }) => ({
    attributeStatus: "Accepted", component, variable,
  })),
}));
client.handle("TriggerMessage", () => ({ status: "NotImplemented" }));
client.handle("SetChargingProfile", ({ params }) => {
  limitW = params.chargingProfile.chargingSchedule[0].chargingSchedulePeriod[0].limit;
  say({ profile: params.chargingProfile });
  return { status: "Accepted" };
});
client.handle("GetCompositeSchedule", ({ params }) => ({
  status: "Accepted",
  schedule: {
    evseId: params.evseId, duration: params.duration, scheduleStart: now(), chargingRateUnit: "W",
    chargingSchedulePeriod: [{ startPeriod: 0, limit: limitW }],
  },
}));

const status = (connectorStatus) =>
  client.call("StatusNotification", { timestamp: now(), connectorStatus, evseId: 1, connectorId: 1 });
const event = (eventType, triggerReason, chargingState, more = {}) =>
  client.call("TransactionEvent", {
    eventType, triggerReason, timestamp: now(), seqNo: seqNo++, evse: { id: 1, connectorId: 1 },
    transactionInfo: { transactionId, ...(chargingState ? { chargingState } : {}) },
    meterValue: [{ timestamp: now(), sampledValue: [
      // kW by the multiplier, as OCPP 2 allows
      { value: running ? limitW / 1000 : 0, measurand: "Power.Active.Import", unitOfMeasure: { unit: "W", multiplier: 3 } },
      { value: (wh += 1), measurand: "Energy.Active.Import.Register" },
      { value: 55, measurand: "SoC", location: "EV" },
    ] }],
    ...more,
  });
const orders = {
  plug: () => status("Occupied"),
  start: async () => {
    const idToken = { idToken: "TAG1", type: "ISO14443" };
    say({ started: await event("Started", "Authorized", "EVConnected", { idToken }) });
    running = true;
    await event("Updated", "ChargingStateChanged", "Charging");
    const timer = setInterval(
      () => (running ? event("Updated", "MeterValuePeriodic").catch(() => {}) : clearInterval(timer)), 200);
  },
  stop: async () => {
    running = false;
    say({ stopped: await event("Ended", "EVCommunicationLost") });
    await status("Available");
  },
  stranger: async () =>
    say({ authorized: await client.call("Authorize", { idToken: { idToken: "STRANGER", type: "ISO14443" } }) }),
};

(async () => {
  await client.connect();
  const chargingStation = { model: "M", vendorName: "ocpp-rpc" };
  say({ booted: await client.call("BootNotification", { reason: "PowerUp", chargingStation }) });
  await status("Available");
  readline.createInterface({ input: process.stdin }).on("line", (line) =>
    Promise.resolve(orders[line.trim()]()).catch((error) => say({ failed: String(error) })));
})().catch((error) => (say({ failed: String(error) }), process.exit(1)));
