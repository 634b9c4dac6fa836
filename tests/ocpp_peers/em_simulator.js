// A charging session of em-ocpp-chargepoint-simulator, as its README has it, in its batch mode.
module.exports = async function (connect) {
  const say = (what) => console.log("SAID " + JSON.stringify(what));
  const cp = await connect(process.env.ENDPOINT);
  cp.answerTriggerMessage("StatusNotification", async (request) =>
    cp.sendResponse(request.uniqueId, { status: "Accepted" }));
  cp.answerTriggerMessage("MeterValues", async (request) =>
    cp.sendResponse(request.uniqueId, { status: "Accepted" }));
  cp.answerGetConfiguration(async (request) => cp.sendResponse(request.uniqueId, { configurationKey: [] }));
  cp.answerChangeConfiguration(async (request) => cp.sendResponse(request.uniqueId, { status: "Accepted" }));
  say({ booted: await cp.sendBootnotification({ chargePointVendor: "em", chargePointModel: "1" }) });
  say({ beat: await cp.sendHeartbeat() });
  const status = (status) => cp.sendStatusNotification({ connectorId: 1, errorCode: "NoError", status });
  await status("Available");
  say({ authorized: await cp.sendAuthorize({ idTag: "TAG1" }) });
  await status("Preparing");
  const at = () => new Date().toISOString();
  const transaction = await cp.startTransaction({ connectorId: 1, idTag: "TAG1", meterStart: 1377, timestamp: at() });
  say({ started: transaction });
  await status("Charging");
  for (let i = 1; i <= 10; i++) {
    // The README's example: a number where OCPP has a text, and no measurand.
    await cp.meterValues({
      connectorId: 1,
      transactionId: transaction.transactionId,
      meterValue: [{ timestamp: at(), sampledValue: [
        { value: 1377 + i },
        { value: "3.68", measurand: "Power.Active.Import", unit: "kW" },
      ] }],
    });
    await cp.sleep(200);
  }
  await cp.stopTransaction({ transactionId: transaction.transactionId, meterStop: 1399, timestamp: at() });
  await status("Finishing");
  await status("Available");
  say({ done: true });
  cp.close();
  process.exit(0);
};
